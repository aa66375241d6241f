"""`wp-config.php` as people write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.engine.errors import EngineError
from workers.engine.wordpress import DatabaseHost, WordPressConfig, read_wp_config

PLAIN = """<?php
define( 'DB_NAME', 'shop' );
define( 'DB_USER', 'shop_user' );
define( 'DB_PASSWORD', 'pw' );
define( 'DB_HOST', 'localhost' );
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
"""


def write(folder: Path, text: str | bytes, name: str = "wp-config.php") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(tmp_path: Path, text: str | bytes, environment=None) -> WordPressConfig:
    site = tmp_path / "site"
    (site / "wp-content").mkdir(parents=True, exist_ok=True)
    return read_wp_config(write(site, text), environment)


def password_of(tmp_path: Path, expression: str, environment=None) -> str | None:
    text = PLAIN.replace("'pw'", expression)
    return read(tmp_path, text, environment).db_password


def test_everything_is_read_when_the_file_is_plain(tmp_path: Path):
    config = read(tmp_path, PLAIN)
    assert (config.db_name, config.db_user, config.db_password) == ("shop", "shop_user", "pw")
    assert config.host == DatabaseHost("localhost")
    assert config.table_prefix == "wp_"
    assert config.is_complete
    assert config.problems == ()


def test_the_password_is_not_shown_when_the_configuration_is_printed(tmp_path: Path):
    assert "s3cr3t" not in repr(read(tmp_path, PLAIN.replace("'pw'", "'s3cr3t'")))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"'it\'s'", "it's"),
        (r"'back\\slash\n'", "back\\slash\\n"),
        (r"'$no {$no}'", "$no {$no}"),
        (r'"a\"b\$c\\"', 'a"b$c\\'),
        (r'"\x41\102\u{1F600}\t"', "AB😀\t"),
        (r'"cash$"', "cash$"),
        (r'"1$2"', "1$2"),
        ("'a' . \"b\" . 'c'", "abc"),
        ("'a'\n  . /* 'x' . */ 'b' // . 'c'\n  # . 'd'\n", "ab"),
        ("<<<'X'\n$raw\\n\nX\n", "$raw\\n"),
        ("<<<X\n    two\n     lines\n    X", "two\n lines"),
        ("base64_decode('c2VjcmV0')", "secret"),
        ('trim(" x \\n")', "x"),
        ("str_replace('-', '', 'a-b')", "ab"),
        ("true ? 'yes' : 'no'", "yes"),
        ("''", ""),
        ("12345", "12345"),
        ("'*/ //'", "*/ //"),
        ("'?><?php'", "?><?php"),
        ("'; define('", "; define("),
    ],
)
def test_a_value_is_phps_when_it_is_written_in_another_way(tmp_path: Path, written, meant):
    assert password_of(tmp_path, written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("getenv('PW')", "from-env"),
        ("getenv('PW', true) ?: 'x'", "from-env"),
        ("$_ENV['PW']", "from-env"),
        ("$_SERVER['PW'] ?? 'x'", "from-env"),
        ("getenv('NONE') ?: 'default'", "default"),
        ("$_ENV['NONE'] ?? 'default'", "default"),
        ("isset($_ENV['NONE']) ? $_ENV['NONE'] : 'default'", "default"),
        ("getenv('NONE') !== false ? getenv('NONE') : 'default'", "default"),
        ("(getenv('PW') ?: 'x') . '!'", "from-env!"),
        ("parse_url(getenv('URL'), PHP_URL_PASS)", "p%40ss"),
        ("rawurldecode(parse_url(getenv('URL'))['pass'])", "p@ss"),
        ("json_decode(getenv('JSON'), true)['db'][0]['pw']", "deep"),
    ],
)
def test_a_value_comes_from_the_environment_when_it_is_given(tmp_path: Path, written, meant):
    environment = {
        "PW": "from-env",
        "URL": "mysql://u:p%40ss@db:3307/x",
        "JSON": '{"db": [{"pw": "deep"}]}',
    }
    text = PLAIN.replace("'pw'", written)
    config = read(tmp_path, text, environment)
    assert config.db_password == meant
    assert config.problems == ()


def test_a_default_is_used_and_said_when_the_environment_is_not_known(tmp_path: Path):
    config = read(tmp_path, PLAIN.replace("'pw'", "getenv('PW') ?: 'default'"))
    assert config.db_password == "default"
    [problem] = config.problems
    assert "DB_PASSWORD is right only if" in problem
    assert "environment variable PW is not set here" in problem


def test_a_value_is_missing_when_a_variable_of_the_environment_has_no_default(tmp_path: Path):
    config = read(tmp_path, PLAIN.replace("'pw'", "getenv('PW')"))
    assert config.db_password is None
    assert not config.is_complete
    assert "DB_PASSWORD is no text" in config.problems[0]
    assert "PW is not set here" in config.problems[0]


OFFICIAL_IMAGE = """<?php
if (!function_exists('getenv_docker')) {
    function getenv_docker($env, $default) {
        if ($fileEnv = getenv($env . '_FILE')) {
            return rtrim(file_get_contents($fileEnv), "\\r\\n");
        }
        else if (($val = getenv($env)) !== false) {
            return $val;
        }
        else {
            return $default;
        }
    }
}
define( 'DB_NAME', getenv_docker('WORDPRESS_DB_NAME', 'wordpress') );
define( 'DB_USER', getenv_docker('WORDPRESS_DB_USER', 'example username') );
define( 'DB_PASSWORD', getenv_docker('WORDPRESS_DB_PASSWORD', 'example password') );
define( 'DB_HOST', getenv_docker('WORDPRESS_DB_HOST', 'mysql') );
$table_prefix = getenv_docker('WORDPRESS_TABLE_PREFIX', 'wp_');
if (isset($_SERVER['HTTP_X_FORWARDED_PROTO'])
    && strpos($_SERVER['HTTP_X_FORWARDED_PROTO'], 'https') !== false) {
    $_SERVER['HTTPS'] = 'on';
}
if ($configExtra = getenv_docker('WORDPRESS_CONFIG_EXTRA', '')) {
    eval($configExtra);
}
if ( ! defined( 'ABSPATH' ) ) { define( 'ABSPATH', __DIR__ . '/' ); }
require_once ABSPATH . 'wp-settings.php';
"""


def test_the_official_images_file_is_read_when_the_environment_is_given(tmp_path: Path):
    secret = write(tmp_path, "from a file\n", "secret")
    environment = {
        "WORDPRESS_DB_NAME": "blog",
        "WORDPRESS_DB_PASSWORD_FILE": str(secret),
        "WORDPRESS_DB_HOST": "db:3307",
    }
    config = read(tmp_path, OFFICIAL_IMAGE, environment)
    assert (config.db_name, config.db_user) == ("blog", "example username")
    assert config.db_password == "from a file"
    assert config.host == DatabaseHost("db", 3307)
    assert config.problems == ()


def test_every_default_is_listed_when_the_official_images_environment_is_not(tmp_path: Path):
    config = read(tmp_path, OFFICIAL_IMAGE)
    assert (config.db_name, config.db_host) == ("wordpress", "mysql")
    assert len(config.problems) == 5
    assert "WORDPRESS_DB_HOST is not set here" in " ".join(config.problems)


@pytest.mark.parametrize(
    "text",
    [
        "<?php const DB_NAME = 'shop', DB_USER = 'shop_user'; const DB_PASSWORD = 'pw';"
        "const DB_HOST = 'localhost'; $table_prefix = 'w' . 'p_';",
        "<?php if (!defined('DB_NAME')) define('DB_NAME', 'shop', true);"
        "defined('DB_USER') or define('DB_USER', 'shop_user');"
        "defined('DB_PASSWORD') || DEFINE(\"DB_PASSWORD\", 'pw');"
        "if (! defined('DB_HOST')): define('DB_HOST', 'localhost'); endif;"
        "$x = 'p'; $table_prefix = \"w{$x}_\";",
        "<?php $db = ['name' => 'shop', 'user' => ['shop_user']]; $db['pw'] = 'pw';"
        "define('DB_NAME', $db['name']); define('DB_USER', $db['user'][0]);"
        "define('DB_PASSWORD', $db['pw']); define('DB_HOST', 'localhost'); $table_prefix='wp_';",
        "<?php foreach (['NAME' => 'shop', 'USER' => 'shop_user', 'PASSWORD' => 'pw',"
        "'HOST' => 'localhost'] as $k => $v) { define(\"DB_$k\", $v); } $table_prefix='wp_';",
        "<?php switch ('live') { case 'dev': define('DB_NAME', 'no'); break; case 'live':"
        "define('DB_NAME', 'shop'); } define('DB_USER', 'shop_user'); define('DB_PASSWORD', 'pw');"
        "define('DB_HOST', 'localhost'); $table_prefix = 'wp_';",
        "\ufeff<?php\r\n/**\r\n * define('DB_NAME', 'no');\r\n */\r\n# define('DB_NAME', 'no');\r\n"
        "// define('DB_NAME', 'no'); ?>\r\n<?php\r\ndefine(\r\n\t'DB_NAME',\r\n\t'shop'\r\n);\r\n"
        "define('DB_USER','shop_user');define('DB_PASSWORD','pw');define('DB_HOST','localhost');"
        "$table_prefix='wp_';\r\n?>\r\n",
        PLAIN + "define('DB_NAME', 'too late'); $table_prefix = 'late_';",
        PLAIN.replace("$table", "define('DB_NAME', 'second'); $table"),
        "<?php if (file_exists(__DIR__ . '/none.php')) { require __DIR__ . '/none.php'; } else {"
        "?>" + PLAIN + "}",
        "<?php function db($k) { $all = array('n' => 'shop'); return $all[$k]; }"
        "define('DB_NAME', db('n'));" + PLAIN[5:],
    ],
)
def test_the_same_is_read_when_it_is_written_in_another_way(tmp_path: Path, text: str):
    config = read(tmp_path, text)
    assert (config.db_name, config.db_user, config.db_password) == ("shop", "shop_user", "pw")
    assert (config.db_host, config.table_prefix) == ("localhost", "wp_")
    assert config.problems == ()


@pytest.mark.parametrize(
    ("replacement", "reason"),
    [
        ("secret_store('db')", "line 2 calls secret_store(), which is not followed"),
        ("$vault->get('db')", "line 2 uses $vault->get(), which is not followed"),
        ("Env::get('db')", "line 2 uses Env::get(), which is not followed"),
        ("$_SERVER['HTTP_HOST']", "$_SERVER['HTTP_HOST'] depends on the request"),
        ("$undefined", "$undefined is not set"),
        ("MISSING_CONSTANT", "the constant MISSING_CONSTANT is not set"),
        ("file_get_contents('/etc/hostname')", "/etc/hostname lies outside the site"),
        ("php_uname('n')", "line 2 calls php_uname(), which is not followed"),
        ("(function () { return 'x'; })()", "a call of a computed function"),
        ("`hostname`", "line 2 is not understood"),
        ("md5('x')", "line 2 calls md5(), which is not followed"),
    ],
)
def test_a_value_is_missing_and_says_why_when_it_cannot_be_told(
    tmp_path: Path, replacement: str, reason: str
):
    config = read(tmp_path, PLAIN.replace("'shop'", replacement))
    assert config.db_name is None
    assert not config.is_complete
    problems = " ".join(config.problems)
    assert reason in problems
    assert "enter the database by hand" in problems


@pytest.mark.parametrize(
    "written", ['"tr0ub4$dor"', "Tr0ub4dor", '"a{$tr0ub4->dor}"', "tr0ub4 dor", "'tr0ub4dor' 'x'"]
)
def test_no_part_of_a_password_is_quoted_when_it_cannot_be_read(tmp_path: Path, written: str):
    config = read(tmp_path, PLAIN.replace("'pw'", written))
    assert config.db_password is None
    assert "DB_PASSWORD" in " ".join(config.problems)
    assert "dor" not in repr(config)
    assert "tr0ub4" not in repr(config).lower()


def test_both_ways_are_unknown_when_a_condition_depends_on_the_request(tmp_path: Path):
    text = (
        "<?php if ($_SERVER['HTTP_HOST'] === 'test.example') { define('DB_NAME', 'test');"
        "define('DB_USER', 'same'); } else { define('DB_NAME', 'live');"
        "define('DB_USER', 'same'); }" + PLAIN[5:]
    )
    config = read(tmp_path, text)
    assert config.db_name is None
    assert config.db_user == "same"
    assert "depends on a condition in line 1" in " ".join(config.problems)


def test_the_way_taken_is_said_when_it_hangs_on_the_environment(tmp_path: Path):
    text = "<?php if (getenv('WP_ENV') === 'test') { define('DB_NAME', 'test'); }" + PLAIN[5:]
    config = read(tmp_path, text)
    assert config.db_name == "shop"
    [problem] = config.problems
    assert problem.startswith("wp-config.php: DB_NAME is right only if")
    assert read(tmp_path, text, {"WP_ENV": "test"}).db_name == "test"
    assert read(tmp_path, text, {}).problems == ()


def test_another_file_is_read_when_it_is_included(tmp_path: Path):
    site = tmp_path / "site"
    write(site, "<?php define('DB_NAME', 'local'); return ['user' => 'me'];", "local/db.php")
    write(tmp_path, "<?php define('DB_PASSWORD', 'above');", "private.php")
    config = read(
        tmp_path,
        "<?php $db = require __DIR__ . '/local/db.php'; include_once '../private.php';"
        "define('DB_USER', $db['user']); include 'local/db.php';" + PLAIN[5:],
    )
    assert (config.db_name, config.db_user, config.db_password) == ("local", "me", "above")
    assert config.problems == ()


def test_what_comes_after_is_doubted_when_an_included_file_cannot_be_read(tmp_path: Path):
    config = read(tmp_path, "<?php require '/etc/elsewhere.php';" + PLAIN[5:])
    assert config.db_name == "shop"
    [problem] = config.problems
    assert "/etc/elsewhere.php lies outside the site" in problem
    assert "DB_NAME" in problem


def test_what_came_before_is_doubted_when_a_file_that_cannot_be_read_may_change_it(tmp_path: Path):
    config = read(
        tmp_path, PLAIN.replace("require_once", "require '/etc/elsewhere.php'; require_once")
    )
    [problem] = config.problems
    assert problem.startswith("wp-config.php: $table_prefix is right only if")


def test_a_link_out_of_the_site_is_not_followed_when_it_is_included(tmp_path: Path):
    outside = write(tmp_path / "a" / "b", "<?php define('DB_NAME', 'stolen');", "outside.php")
    site = tmp_path / "c" / "site"
    (site / "wp-content").mkdir(parents=True)
    (site / "inner.php").symlink_to(outside)
    path = write(site, "<?php require __DIR__ . '/inner.php';" + PLAIN[5:])
    config = read_wp_config(path)
    assert config.db_name == "shop"
    assert "lies outside the site" in config.problems[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="another owner can only be given by root")
def test_a_file_of_somebody_else_is_not_read_when_others_may_not_read_it(tmp_path: Path):
    site = tmp_path / "site"
    (site / "wp-content").mkdir(parents=True)
    other = write(tmp_path, "<?php define('DB_NAME', 'stolen');", "other/wp-config.php")
    path = write(site, "<?php require '../other/wp-config.php';" + PLAIN[5:])
    other.chmod(0o600)
    os.chown(path, 12345, 12345)
    config = read_wp_config(path)
    assert config.db_name == "shop"
    assert "belongs to somebody else" in config.problems[0]
    os.chown(other, 12345, 12345)
    assert read_wp_config(path).db_name == "stolen"


def test_the_content_and_urls_are_read_when_they_are_defined(tmp_path: Path):
    config = read(
        tmp_path,
        "<?php define('WP_CONTENT_DIR', dirname(__FILE__) . '/content');"
        "define('WP_HOME', 'https://example.com'); define('WP_SITEURL', WP_HOME . '/wp');"
        "define('MULTISITE', true); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');"
        + PLAIN[5:],
    )
    assert config.content_directory == tmp_path / "site" / "content"
    assert (config.home, config.site_url) == ("https://example.com", "https://example.com/wp")
    assert config.is_multisite
    assert (config.charset, config.collate) == ("utf8mb4", "")


def test_latin_1_is_read_and_said_when_a_value_has_it(tmp_path: Path):
    config = read(tmp_path, PLAIN.replace("'pw'", "'caf\xe9' /* \xe9 */").encode("latin-1"))
    assert config.db_password == "caf\xe9"
    assert "DB_PASSWORD is not in UTF-8" in config.problems[0]
    commented = read(tmp_path, PLAIN.replace("'pw'", "'pw' /* \xe9 */").encode("latin-1"))
    assert commented.problems == ()


@pytest.mark.parametrize("prefix", ["wp-", "wp_; DROP", "", "wp`", "wp_\\n"])
def test_the_prefix_is_refused_when_it_is_no_name(tmp_path: Path, prefix: str):
    config = read(tmp_path, PLAIN.replace("'wp_'", f'"{prefix}"'))
    assert config.table_prefix is None
    assert not config.is_complete
    assert "letters, digits and _" in config.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no php at all",
        "<?php",
        "<?php define('DB_NAME', 'x",
        "<?php /* never closed",
        "<?php <<<X\nnever closed",
        "<?php define('DB_NAME'",
        "<?php " + "(" * 5000,
        "<?php $x = " + "'a' . " * 20000 + "'b';",
        "<?php " + "if (getenv('X')) {" * 300 + "}" * 300,
        "<?php " + "$a = $_GET['x'] ? 1 : 2;" * 10000,
        "<?php $a = 'aaaaaaaaaaaaaaaa';" + "$a .= $a;" * 60,
        "<?php function f() { return f() . f(); } f();",
        "<?php require __FILE__;",
        "<?php while (true) { $a .= 'x'; }",
        "<?php \x00\x01\x02",
        "<?php exit;",
        "<?php " + "/" * 100000,
        '<?php "' + "{$a" * 5000,
        "<?php " + "<<<A\n" * 3000,
    ],
)
def test_problems_are_listed_when_the_file_is_broken_or_hostile(tmp_path: Path, text: str):
    config = read(tmp_path, text)
    assert config.db_name is None
    assert not config.is_complete
    assert config.problems


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "wp_config_missing"),
        (lambda path: path.mkdir(), "wp_config_unreadable"),
        (lambda path: os.mkfifo(path), "wp_config_unreadable"),
        (lambda path: path.write_bytes(b"<?php " + b"#" * (1 << 20)), "wp_config_unreadable"),
        (lambda path: path.symlink_to(path), "wp_config_missing"),
    ],
)
def test_an_error_says_so_when_the_file_itself_cannot_be_read(tmp_path: Path, make, code: str):
    path = tmp_path / "wp-config.php"
    make(path)
    with pytest.raises(EngineError) as caught:
        read_wp_config(path)
    assert caught.value.code == code
    assert caught.value.permanent
    assert caught.value.hint


def test_sqlite_is_found_when_the_plugins_drop_in_is_there(tmp_path: Path):
    site = tmp_path / "site"
    write(site, "<?php define('SQLITE_DB_DROPIN_VERSION', '1.8.0');", "wp-content/db.php")
    config = read(tmp_path, "<?php $table_prefix = 'wp_';")
    assert config.is_sqlite
    assert config.sqlite_file == site / "wp-content/database/.ht.sqlite"
    assert config.is_complete
    assert config.problems == ()


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("define('DB_DIR', '/data/db/'); define('DB_FILE', 'x.db');", "/data/db/x.db"),
        ("define('DB_DIR', '/data/db');", "/data/db/.ht.sqlite"),
        ("define('WP_CONTENT_DIR', '/c');", "/c/database/.ht.sqlite"),
        ("define('FQDB', '/data/y.sqlite');", "/data/y.sqlite"),
        ("define('DB_DIR', 'relative');", None),
        ("define('DB_FILE', unknown());", None),
    ],
)
def test_the_sqlite_file_is_the_one_configured_when_it_is_another(tmp_path: Path, text, file):
    config = read(tmp_path, f"<?php define('DB_ENGINE', 'sqlite'); {text} $table_prefix = 'wp_';")
    assert config.sqlite_file == (Path(file) if file else None)
    assert config.is_complete is (file is not None)
    assert bool(config.problems) is (file is None)


def test_mysql_is_used_when_the_file_says_so_despite_a_drop_in(tmp_path: Path):
    write(tmp_path / "site", "<?php // sqlite", "wp-content/db.php")
    assert not read(tmp_path, "<?php define('DB_ENGINE', 'mysql');" + PLAIN[5:]).is_sqlite


def test_abspath_is_the_sites_folder_when_the_file_lies_above_it(tmp_path: Path):
    site = tmp_path / "public"
    write(site, "<?php", "wp-settings.php")
    write(site, "<?php define('DB_NAME', 'inside');", "inner.php")
    path = write(tmp_path, "<?php require ABSPATH . 'inner.php';" + PLAIN[5:])
    assert read_wp_config(path).db_name == "inside"
    assert read_wp_config(path, site=site).db_name == "inside"

"""Changing wp-config.php: exactly the settings asked for, and no other byte."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.errors import EngineError
from workers.engine.wordpress import read_wp_config
from workers.engine.wordpress.wp_config import edit_settings, rewrite_wp_config

PLAIN = r"""<?php
// define( 'DB_NAME', 'in a comment' );
/* $table_prefix = 'commented_'; */
define( 'DB_NAME', 'old' ); # define('DB_NAME', 'x');
define("DB_USER", "old user");
DEFINE ( 'DB_PASSWORD' , 'pa\'ss\\' , false ) ;
define('DB_HOST', 'localhost'); $note = "define('DB_HOST', 'in a string');";
define('DB_CHARSET', 'utf8mb4');
define('AUTH_KEY', 'DB_NAME $table_prefix');
$table_prefix  = 'wp_';
if ( ! defined( 'WP_HOME' ) ) { define( 'WP_HOME', 'http://old.example' ); }
require_once ABSPATH . 'wp-settings.php';
?>
trailing define('DB_NAME', 'text');
"""
CHANGES = {
    "DB_NAME": "new",
    "DB_USER": "it's",
    "DB_PASSWORD": "a\\'b$c\"\\",
    "DB_HOST": "db:3307",
    "$table_prefix": "n3w_",
    "WP_HOME": "https://new.example",
    "WP_SITEURL": "https://new.example/wp",
}


def write(tmp_path: Path, text: str | bytes) -> Path:
    (tmp_path / "wp-content").mkdir(exist_ok=True)
    path = tmp_path / "wp-config.php"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_only_the_values_change_when_all_are_plain(tmp_path: Path):
    path = write(tmp_path, PLAIN)
    edited = rewrite_wp_config(path, CHANGES)
    assert set(edited.changed) == set(CHANGES) - {"WP_SITEURL"}
    expected = (
        PLAIN.replace("'old' )", "'new' )")
        .replace('"old user"', r"'it\'s'")
        .replace(r"'pa\'ss\\' ", "'a\\\\\\'b$c\"\\\\' ")
        .replace("'localhost'", "'db:3307'")
        .replace("= 'wp_'", "= 'n3w_'")
        .replace("'http://old.example' )", "'https://new.example' )")
    )
    assert edited.content.decode() == expected
    assert path.read_text() == PLAIN
    path.write_bytes(edited.content)
    config = read_wp_config(path)
    assert (config.db_name, config.db_user, config.db_host) == ("new", "it's", "db:3307")
    assert config.db_password == CHANGES["DB_PASSWORD"]
    assert (config.table_prefix, config.home) == ("n3w_", "https://new.example")
    assert "b$c" not in repr(edited)


@pytest.mark.parametrize(
    "text",
    [
        "const DB_NAME = 'a', DB_USER = 'u';",
        "\\define('DB_NAME', <<<'X'\nmulti\nline\nX);",
        "if (getenv('A')) { define('DB_NAME', 'a'); } else { define('DB_NAME', 'b'); }",
        "define('DB_NAME', '');",
        "define(\n  'DB_NAME', // here\n  'x'\n);",
    ],
)
def test_the_file_says_the_new_name_when_it_is_written_unusually(tmp_path: Path, text: str):
    path = write(tmp_path, f"<?php {text} ?>")
    path.write_bytes(rewrite_wp_config(path, {"DB_NAME": "n'\\e\nw"}).content)
    assert read_wp_config(path).db_name == "n'\\e\nw"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("define('DB_NAME', getenv('DB'));", "line 1: DB_NAME is no plain text"),
        ("define('DB_NAME', 'a' . 'b');", "line 1: DB_NAME is no plain text"),
        ("define('DB_NAME', \"a$b\");", "line 1: DB_NAME is no plain text"),
        ("define('DB_NAME', OTHER);", "line 1: DB_NAME is no plain text"),
        ("define('DB_NAME', ['a'][0]);", "line 1: DB_NAME is no plain text"),
        ("define('DB_NAME', ('a'));", "line 1: DB_NAME is no plain text"),
        ("define('OTHER', 'x');", "DB_NAME is not set"),
        ("define('DB_' . 'NAME', 'x');", "DB_NAME is not set"),
        ("$x->define('DB_NAME', 'x');", "DB_NAME is not set"),
        ("function define_all() { define('DB_NAME', 'x'); }", "cannot be followed"),
        ("define('DB_' . 'NAME', 'x'); define('DB_NAME', 'y');", "cannot be followed"),
        ("foreach (f() as $k) { define('DB_NAME', 'y'); }", "cannot be followed"),
    ],
)
def test_an_error_names_the_setting_when_it_is_no_literal(tmp_path: Path, text: str, why: str):
    with pytest.raises(EngineError) as caught:
        rewrite_wp_config(write(tmp_path, f"<?php {text}"), {"DB_NAME": "new"})
    assert why in caught.value.message
    assert (caught.value.code, caught.value.permanent) == ("wp_config_not_literal", True)
    assert caught.value.hint


def test_it_is_refused_when_another_file_sets_it_first(tmp_path: Path):
    (tmp_path / "own.php").write_text("<?php define('DB_NAME', 'theirs');")
    path = write(tmp_path, "<?php require __DIR__ . '/own.php'; define('DB_NAME', 'x');")
    with pytest.raises(EngineError, match="DB_NAME is set in a way that cannot be followed"):
        rewrite_wp_config(path, {"DB_NAME": "new"})
    (tmp_path / "own.php").write_text("<?php define('OTHER', 'theirs');")
    assert b"'DB_NAME', 'new'" in rewrite_wp_config(path, {"DB_NAME": "new"}).content


@pytest.mark.parametrize("text", ["$table_prefix .= 'a';", "$table_prefix = 'a' . $b;"])
def test_an_error_names_the_prefix_when_it_is_no_literal(tmp_path: Path, text: str):
    with pytest.raises(EngineError, match="table_prefix is no plain text"):
        rewrite_wp_config(write(tmp_path, f"<?php {text}"), {"$table_prefix": "new_"})


def test_a_prefix_that_is_set_after_another_counts(tmp_path: Path):
    path = write(tmp_path, "<?php $table_prefix = 'a_'; if (x()) { $table_prefix = 'b_'; }")
    path.write_bytes(rewrite_wp_config(path, {"$table_prefix": "c_"}).content)
    assert read_wp_config(path).table_prefix == "c_"


def test_encoding_and_mark_stay_when_the_file_is_no_plain_ascii(tmp_path: Path):
    path = write(tmp_path, b"\xef\xbb\xbf<?php // \xc3\xbc\r\ndefine('DB_NAME', 'x');\r\n")
    assert rewrite_wp_config(path, {"DB_NAME": "ü"}).content == (
        b"\xef\xbb\xbf<?php // \xc3\xbc\r\ndefine('DB_NAME', '\xc3\xbc');\r\n"
    )
    path = write(tmp_path, b"<?php // \xfc\ndefine('DB_NAME', 'x');")
    assert rewrite_wp_config(path, {"DB_NAME": "ü"}).content == (
        b"<?php // \xfc\ndefine('DB_NAME', '\xfc');"
    )
    with pytest.raises(EngineError, match="Latin-1"):
        rewrite_wp_config(path, {"DB_NAME": "船"})


@pytest.mark.parametrize("changes", [{"DB_NAME": "a\0b"}, {"$table_prefix": "x'; //"}])
def test_a_value_that_cannot_be_written_is_refused(tmp_path: Path, changes: dict[str, str]):
    with pytest.raises(EngineError):
        rewrite_wp_config(write(tmp_path, PLAIN), changes)


def test_another_setting_is_no_business_of_ours():
    with pytest.raises(ValueError, match="AUTH_KEY"):
        edit_settings(PLAIN.encode(), {"AUTH_KEY": "x"})


def test_no_secret_is_shown_when_it_fails(tmp_path: Path):
    path = write(tmp_path, "<?php define('DB_PASSWORD', \"s3cret$x\");")
    with pytest.raises(EngineError) as caught:
        rewrite_wp_config(path, {"DB_PASSWORD": "n3w"})
    assert "s3cret" not in caught.value.sentences()
    assert "n3w" not in caught.value.sentences()


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30))
def test_any_password_is_read_back_when_it_was_written(value: str):
    edited = edit_settings(PLAIN.encode(), {"DB_PASSWORD": value})
    again = edit_settings(edited.content, {"DB_PASSWORD": "pa'ss\\"})
    assert again.content.decode() == PLAIN


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP itself is the judge here")
def test_php_reads_what_was_written(tmp_path: Path):
    path = write(tmp_path, PLAIN.replace("require_once", "// require_once"))
    path.write_bytes(rewrite_wp_config(path, CHANGES).content)
    shown = (
        "ob_start(); require $argv[1]; ob_end_clean();"
        "echo DB_PASSWORD, ' ', DB_USER, ' ', $table_prefix;"
    )
    answer = subprocess.run(
        ["php", "-r", shown, "--", str(path)], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "a\\'b$c\"\\ it's n3w_"

"""A real WordPress: Debian's package, installed through its own installer, served by PHP itself."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.servers import Daemon, accepts, free_port, server_directory, unprivileged_user
from tests.servers.mariadb import MariaDBServer

PACKAGE = Path("/usr/share/wordpress")
HOST = "holdfast.example"
TITLE = "Held fast — 船 & “quoted” 😀"
PREFIX = "hf_"
EMOJI = "Rescued 🛟 and kept 🧡, byte by byte ⛵"

_CONFIG = """<?php
/** A configuration such as installers write it. */
define( 'DB_NAME', '{name}' );
define( 'DB_USER', '{user}' );
define( 'DB_PASSWORD', '{password}' );
define( 'DB_HOST', '{host}:{port}' );
define( 'DB_CHARSET', 'utf8mb4' );
define( 'DB_COLLATE', '' );
define( 'WP_HTTP_BLOCK_EXTERNAL', true );
define( 'DISABLE_WP_CRON', true );
define( 'AUTOMATIC_UPDATER_DISABLED', true );
$table_prefix = '{prefix}';
if ( ! defined( 'ABSPATH' ) ) {{
    define( 'ABSPATH', __DIR__ . '/' );
}}
require_once ABSPATH . 'wp-settings.php';
"""

# Debian's package comes without a theme, so the site has one of its own, as many have.
_THEME = {
    "style.css": "/*\nTheme Name: Holdfast Test\nVersion: 1.0\n*/\nbody { color: #123 }\n",
    "functions.php": """<?php
add_theme_support( 'post-thumbnails' );
add_theme_support( 'title-tag' );
""",
    "index.php": """<!DOCTYPE html>
<html <?php language_attributes(); ?>><head><meta charset="<?php bloginfo( 'charset' ); ?>">
<?php wp_head(); ?></head><body <?php body_class(); ?>>
<h1><?php bloginfo( 'name' ); ?></h1>
<?php while ( have_posts() ) : the_post(); ?>
<article <?php post_class(); ?>>
<h2><a href="<?php the_permalink(); ?>"><?php the_title(); ?></a></h2>
<?php the_post_thumbnail( 'full' ); the_date(); the_author(); the_content(); comments_template(); ?>
</article>
<?php endwhile; the_posts_pagination(); wp_footer(); ?></body></html>
""",
    "comments.php": "<?php wp_list_comments(); comment_form();\n",
}

# Fills the site through WordPress's own functions; the image is made by PHP, byte by byte.
_CONTENT = r"""<?php
$_SERVER['HTTP_HOST'] = '%(host)s';
require __DIR__ . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/image.php';
require_once ABSPATH . 'wp-admin/includes/file.php';
require_once ABSPATH . 'wp-admin/includes/media.php';
function must($result) {
    if (is_wp_error($result)) { fwrite(STDERR, $result->get_error_message()); exit(1); }
    return $result;
}
switch_theme('holdfast-test');
add_theme_support('post-thumbnails');
$png = base64_decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
);
for ($number = 1; $number <= 12; $number++) {
    $temporary = tempnam(sys_get_temp_dir(), 'up');
    file_put_contents($temporary, $png . str_repeat(chr($number), $number * 1000));
    $post = must(wp_insert_post([
        'post_title' => "Post $number: %(emoji)s",
        'post_content' => "<p>%(emoji)s</p> it's \"$number\" \\ 100%% ; -- /* x */\r\n\0end",
        'post_status' => 'publish', 'post_author' => 1,
        'post_date' => sprintf('2024-01-%%02d 03:04:05', $number),
    ], true));
    $media = must(media_handle_sideload(
        ['name' => "image-$number.png", 'tmp_name' => $temporary], $post, "Image $number"
    ));
    set_post_thumbnail($post, $media);
    wp_insert_comment(['comment_post_ID' => $post, 'comment_content' => 'seen 👀',
        'comment_author' => "O'Reader",
        // Without an address WordPress takes the avatar from a server picked at random.
        'comment_author_email' => 'reader@holdfast.example', 'comment_approved' => 1]);
}
$upload = wp_upload_bits('blob.txt', null, random_bytes(300000));
if ($upload['error']) { fwrite(STDERR, $upload['error']); exit(1); }
update_option('holdfast_binary', ['nested' => ['✓', 1, null, "a\0b"]]);
echo 'filled';
"""


@dataclass(frozen=True, slots=True)
class WordPressSite:
    """An installed site. `root` is WordPress's folder, `database` the name of its database."""

    root: Path
    database: str
    server: MariaDBServer


class WordPressServer:
    """PHP's own web server on a site's folder, asked for it as `host`. A context manager."""

    def __init__(self, root: Path, host: str = HOST) -> None:
        self.root = root
        self.host = host
        self.port = free_port()
        self._daemon = Daemon(
            ["php", "-d", "display_errors=stderr", "-S", f"127.0.0.1:{self.port}", "-t", str(root)],
            log=root.parent / f"php-{self.port}.log",
            user=unprivileged_user(),
            cwd=root,
        )

    def get(self, path: str) -> str:
        """Return the page at `path`, asked for under the site's own name."""
        return self._ask(path, None)

    def get_bytes(self, path: str) -> bytes:
        """Return what is at `path` as it is."""
        return self._open(path, None)

    def post(self, path: str, fields: dict[str, str]) -> str:
        """Return the answer to a form."""
        return self._ask(path, urllib.parse.urlencode(fields).encode())

    def _ask(self, path: str, data: bytes | None) -> str:
        return self._open(path, data).decode()

    def _open(self, path: str, data: bytes | None) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, headers={"Host": self.host}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.request.HTTPError as error:
            error.add_note(self._daemon.log_tail())
            raise

    def __enter__(self) -> Self:
        self._daemon.start(lambda: accepts(self.port))
        return self

    def __exit__(self, *_exception: object) -> None:
        self._daemon.stop()


def copy_core(root: Path) -> None:
    """Copy WordPress's own files to `root`, which PHP may write to; no configuration, no content.

    Links of the package into other packages become files.
    """
    shutil.copytree(
        PACKAGE,
        root,
        ignore=shutil.ignore_patterns("wp-config.php", "wp-content", ".htaccess"),
        ignore_dangling_symlinks=True,
    )
    give_to_php(root)


def give_to_php(path: Path) -> None:
    """Give a tree to the user that PHP runs as."""
    if (user := unprivileged_user()) is None:
        return
    entry = pwd.getpwnam(user)
    for folder, folders, files in os.walk(path):
        for name in (".", *folders, *files):
            os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def run_php(root: Path, script: str) -> str:
    """Run a PHP script in the site's folder as the user that PHP runs as; return what it says."""
    path = root / "holdfast-test.php"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o644)
    try:
        answer = subprocess.run(
            ["php", "-d", "display_errors=stderr", str(path)],
            cwd=root,
            user=unprivileged_user(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.unlink()
    assert answer.returncode == 0, answer.stderr + answer.stdout
    return answer.stdout


def install_wordpress(root: Path, server: MariaDBServer) -> WordPressSite:
    """Install a site into `root` and a new database of `server`, and fill it."""
    copy_core(root)
    shutil.copytree(PACKAGE / "wp-content", root / "wp-content", ignore_dangling_symlinks=True)
    (root / "wp-content" / "uploads").mkdir(exist_ok=True)
    theme = root / "wp-content" / "themes" / "holdfast-test"
    theme.mkdir()
    for name, text in _THEME.items():
        (theme / name).write_text(text, encoding="utf-8")
    database = server.create_database()
    password = server.password.replace("\\", "\\\\").replace("'", "\\'")
    config = _CONFIG.format(
        name=database,
        user=server.user,
        password=password,
        host=server.host,
        port=server.port,
        prefix=PREFIX,
    )
    (root / "wp-config.php").write_text(config, encoding="utf-8")
    give_to_php(root)
    with WordPressServer(root) as web:
        answer = web.post(
            "/wp-admin/install.php?step=2",
            {
                "weblog_title": TITLE,
                "user_name": "admin",
                "admin_password": "a l0ng & strange one",
                "admin_password2": "a l0ng & strange one",
                "admin_email": "admin@holdfast.example",
                "blog_public": "0",
                "language": "",
            },
        )
    assert "wp-login.php" in answer, answer
    assert run_php(root, _CONTENT % {"host": HOST, "emoji": EMOJI}) == "filled"
    return WordPressSite(root, database, server)


@contextlib.contextmanager
def wordpress_directory() -> Iterator[Path]:
    """Yield a folder with a short path that PHP's user may write to."""
    with server_directory("wordpress") as directory:
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def wordpress_site(mariadb_server: MariaDBServer) -> Iterator[WordPressSite]:
    with ExitStack() as stack:
        directory = stack.enter_context(wordpress_directory())
        yield install_wordpress(directory / "site", mariadb_server)

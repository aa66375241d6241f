"""Sites to back up: one that keeps every stage busy for a while, and very small ones."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import MySQLdb

from tests.servers.mariadb import MariaDBServer
from tests.workers.stages.pipeline import make_sqlite_site

ROWS = 600
ROW_BYTES = 32_000
FILES = 12
FILE_BYTES = 4 << 20

# Rows that do not compress, made by the server itself.
FILL = f"""
CREATE TABLE wp_options (option_name VARCHAR(191) PRIMARY KEY, option_value LONGTEXT NOT NULL);
INSERT INTO wp_options VALUES ('siteurl', 'http://large.example.com'),
  ('home', 'http://large.example.com'), ('blogname', 'Large');
CREATE TABLE wp_posts (ID BIGINT AUTO_INCREMENT PRIMARY KEY, post_content LONGTEXT NOT NULL);
INSERT INTO wp_posts (post_content)
  SELECT TO_BASE64(RANDOM_BYTES(1000)) FROM seq_1_to_{ROWS};
UPDATE wp_posts SET post_content = REPEAT(post_content, {ROW_BYTES // 1360});
"""

CONFIG = """<?php
define('DB_NAME', '{name}');
define('DB_USER', 'root');
define('DB_PASSWORD', '{password}');
define('DB_HOST', '127.0.0.1:{port}');
define('DB_CHARSET', 'utf8mb4');
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
"""


class SiteDatabase:
    """The large site's database, on a server that no fault is injected into."""

    def __init__(self, server: MariaDBServer) -> None:
        self.server = server
        self.name = server.create_database()
        server.execute(FILL, self.name)

    @property
    def wp_config(self) -> str:
        password = self.server.password.replace("\\", "\\\\").replace("'", "\\'")
        return CONFIG.format(name=self.name, password=password, port=self.server.port)

    @contextlib.contextmanager
    def locked_table(self) -> Iterator[None]:
        """Hold a lock that every dump waits for."""
        connection = MySQLdb.connect(
            host=self.server.host,
            port=self.server.port,
            user=self.server.user,
            password=self.server.password,
            database=self.name,
        )
        with contextlib.closing(connection):
            connection.cursor().execute("LOCK TABLES wp_posts WRITE")
            yield


def make_large_site(folder: Path, database: SiteDatabase) -> Path:
    """Make a site whose stages take about a second each."""
    uploads = folder / "wp-content" / "uploads"
    uploads.mkdir(parents=True)
    for number in range(FILES):
        noise = hashlib.shake_256(str(number).encode()).digest(FILE_BYTES)
        (uploads / f"{number}.mp4").write_bytes(noise)
    (folder / "wp-content" / "index.php").write_text("<?php // Silence is golden.\n")
    (folder / "wp-config.php").write_text(database.wp_config)
    return folder


def make_small_site(folder: Path) -> Path:
    """Make a site with next to nothing in it, its database a SQLite file."""
    return make_sqlite_site(folder)

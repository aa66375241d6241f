"""The sample site's database, as WordPress's SQLite drop-in keeps it: deterministic rows."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

WORDS = (
    *("anchor", "harbour", "mooring", "tide", "keel", "rigging", "lantern", "compass", "voyage"),
    *("cargo", "manifest", "ledger", "wind", "current", "beacon", "chart", "sextant", "fathom"),
    *("hull", "mast", "crew", "watch", "bell", "storm", "calm", "horizon", "channel", "buoy"),
)
# What dumps have been known to get wrong: four-byte characters, quotes, semicolons, controls.
HARD_TEXTS = (
    "Ahoy \U0001f6a2\U0001f30a \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "It's a \"quoted\" 'title'; -- not a comment",
    "line one\nline two\r\nline three\ttab",
    "C:\\path\\with\\backslashes and 100 % of $signs",
    "Ünïcödé, 日本語, עברית, العربية",
    "",
)

_SCHEMA = """
CREATE TABLE wp_options (
  option_id INTEGER PRIMARY KEY AUTOINCREMENT,
  option_name TEXT NOT NULL DEFAULT '',
  option_value TEXT NOT NULL DEFAULT '',
  autoload TEXT NOT NULL DEFAULT 'yes'
);
CREATE UNIQUE INDEX wp_options__option_name ON wp_options (option_name);
CREATE TABLE wp_users (
  ID INTEGER PRIMARY KEY AUTOINCREMENT, user_login TEXT, user_pass TEXT, user_email TEXT,
  user_registered TEXT, display_name TEXT
);
CREATE TABLE wp_posts (
  ID INTEGER PRIMARY KEY AUTOINCREMENT, post_author INTEGER, post_date TEXT, post_content TEXT,
  post_title TEXT, post_status TEXT, post_name TEXT, post_type TEXT, comment_count INTEGER
);
CREATE INDEX wp_posts__post_name ON wp_posts (post_name);
CREATE INDEX wp_posts__type_status_date ON wp_posts (post_type, post_status, post_date, ID);
CREATE TABLE wp_postmeta (
  meta_id INTEGER PRIMARY KEY AUTOINCREMENT, post_id INTEGER, meta_key TEXT, meta_value BLOB
);
CREATE INDEX wp_postmeta__post_id ON wp_postmeta (post_id);
CREATE TABLE wp_comments (
  comment_ID INTEGER PRIMARY KEY AUTOINCREMENT, comment_post_ID INTEGER, comment_author TEXT,
  comment_content TEXT, comment_karma REAL
);
CREATE TABLE wp_statistics (day TEXT, page TEXT, views INTEGER, PRIMARY KEY (day, page))
  WITHOUT ROWID;
CREATE VIEW wp_published AS SELECT ID, post_title FROM wp_posts WHERE post_status = 'publish';
"""


def write_database(path: Path, *, posts: int) -> None:
    """Write the database with `posts` posts and what hangs on them; `path` must not exist yet."""
    choose = random.Random(2024)  # noqa: S311 - the same rows each time is the point
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(_SCHEMA)
        database.executemany("INSERT INTO wp_options VALUES (?, ?, ?, ?)", _options())
        hashed = hashlib.sha256(b"nobody signs in here").hexdigest()
        database.execute(
            "INSERT INTO wp_users VALUES (1, 'captain', ?, 'captain@demo.example', "
            "'2024-01-01 00:00:00', 'Captain')",
            (hashed,),
        )
        database.executemany(
            "INSERT INTO wp_posts VALUES (?, 1, ?, ?, ?, ?, ?, ?, 2)",
            (_post(number, choose) for number in range(1, posts + 1)),
        )
        database.executemany("INSERT INTO wp_postmeta VALUES (?, ?, ?, ?)", _metadata(posts))
        database.executemany("INSERT INTO wp_comments VALUES (?, ?, ?, ?, ?)", _comments(posts))
        database.executemany(
            "INSERT INTO wp_statistics VALUES (?, ?, ?)",
            (
                (f"2024-01-{day:02}", f"/page-{page}", day * page)
                for day in range(1, 29)
                for page in range(20)
            ),
        )
        database.commit()


def _options() -> Iterator[tuple[int, str, str, str]]:
    values = {
        "siteurl": "http://demo.example",
        "home": "http://demo.example",
        "blogname": "Holdfast demo \U0001f6a2",
        "template": "lighthouse",
        "active_plugins": 'a:1:{i:0;s:19:"harbour/harbour.php";}',
    }
    values |= {f"hard_text_{number}": text for number, text in enumerate(HARD_TEXTS)}
    for number, (name, value) in enumerate(values.items(), start=1):
        yield number, name, value, "yes"


def _post(number: int, choose: random.Random) -> tuple[int, str, str, str, str, str, str]:
    paragraphs = [" ".join(choose.choices(WORDS, k=80)) for _ in range(5)]
    return (
        number,
        f"2024-{number % 12 + 1:02}-{number % 28 + 1:02} 12:00:00",
        "\n\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs),
        f"{HARD_TEXTS[number % len(HARD_TEXTS)]} {number}",
        "publish" if number % 5 else "draft",
        f"post-{number}",
        "post" if number % 7 else "page",
    )


def _metadata(posts: int) -> Iterator[tuple[int, int, str, object]]:
    values: tuple[object, ...] = (
        "_wp_attached_file",
        bytes(range(256)),
        None,
        2**62,
        0.1,
        b"",
        'a:1:{s:4:"file";s:12:"2024/01/a.jpg";}',
    )
    for number in range(1, 3 * posts + 1):
        yield number, number % posts + 1, f"_key_{number % 11}", values[number % len(values)]


def _comments(posts: int) -> Iterator[tuple[int, int, str, str, float]]:
    for number in range(1, 2 * posts + 1):
        text = HARD_TEXTS[number % len(HARD_TEXTS)]
        yield number, number % posts + 1, f"Visitor {number}", text, number / 3

"""A sample WordPress-shaped site: deterministic, with what real ones have and backups get wrong."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.embedded.sample_database import WORDS, write_database

# 2024-01-15 10:00:00 UTC; each file is one second and some nanoseconds later than the one before.
FIRST_MTIME_NS = 1_705_312_800_000_000_000
STEP_NS = 1_000_000_123

# What a backup leaves out by default, and nothing else: paths below the site, folders whole.
LEFT_OUT = (
    "wp-content/cache",
    "wp-content/debug.log",
    "wp-content/updraft",
    "wp-content/plugins/harbour/node_modules",
)
DATABASE = "wp-content/database/.ht.sqlite"

_CONFIG = """<?php
/** The demo's site: WordPress on SQLite. */
define( 'DB_ENGINE', 'sqlite' );
define( 'DB_DIR', __DIR__ . '/wp-content/database/' );
define( 'DB_FILE', '.ht.sqlite' );
define( 'DB_NAME', 'wordpress' );
define( 'DB_CHARSET', 'utf8mb4' );
$table_prefix = 'wp_';
define( 'WP_DEBUG', false );
if ( ! defined( 'ABSPATH' ) ) {
    define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything, in files or bytes."""

    plugins: int
    plugin_files: int
    photos: int
    photo_bytes: int
    video_bytes: int
    drawings: int
    drawing_bytes: int
    posts: int


# About 200 MB: what a small business's site comes to.
FULL = Shape(
    plugins=14,
    plugin_files=90,
    photos=180,
    photo_bytes=600_000,
    video_bytes=36_000_000,
    drawings=36,
    drawing_bytes=1_000_000,
    posts=1_500,
)
SMALL = Shape(
    plugins=2,
    plugin_files=10,
    photos=4,
    photo_bytes=50_000,
    video_bytes=5_000_000,
    drawings=2,
    drawing_bytes=60_000,
    posts=20,
)


def make_sample_site(path: Path, shape: Shape = FULL) -> bool:
    """Make the site at `path`; False if it is there already. It appears whole or not at all."""
    if path.exists():
        return False
    partial = path.with_name(f"{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    _write_code(partial, shape)
    _write_media(partial / "wp-content/uploads", shape)
    _write_what_is_left_out(partial)
    _write_rarities(partial / "wp-content/uploads")
    database = partial / DATABASE
    database.parent.mkdir()
    write_database(database, posts=shape.posts)
    _set_modes_and_times(partial)
    partial.rename(path)
    return True


def incompressible(name: str, size: int) -> bytes:
    """Return `size` bytes that no compressor makes smaller, always the same for one name."""
    return hashlib.shake_128(name.encode()).digest(size)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_code(site: Path, shape: Shape) -> None:
    _write(site / "wp-config.php", _CONFIG.encode())
    _write(site / "index.php", b"<?php require __DIR__ . '/wp-blog-header.php';\n")
    _write(site / "wp-includes/version.php", b"<?php\n$wp_version = '6.5.2';\n")
    content = site / "wp-content"
    _write(content / "index.php", b"<?php // Silence is golden.\n")
    _write(content / "db.php", b"<?php // Stands for the SQLite integration's drop-in.\n")
    folders = [content / "themes/lighthouse", content / "plugins/harbour"]
    folders += [content / f"plugins/plugin-{number:02}" for number in range(2, shape.plugins + 1)]
    for folder in folders:
        choose = random.Random(folder.name)  # noqa: S311 - the same text each time is the point
        for number in range(shape.plugin_files):
            extension = ("php", "js", "css", "po")[number % 4]
            name = f"includes/part-{number % 7}/class-{number:03}.{extension}"
            _write(folder / name, _code(choose, 2_000 + number % 13 * 2_500))


def _code(choose: random.Random, size: int) -> bytes:
    lines = ["<?php", "/* Part of the demo's site: text as compressible as code is. */"]
    while size > 0:
        words = choose.choices(WORDS, k=7)
        number = choose.randrange(10_000)
        lines.append(
            f"    ${words[0]}_{words[1]} = {words[2]}( '{' '.join(words[3:])}', {number} );"
        )
        size -= len(lines[-1]) + 1
    return "\n".join(lines).encode() + b"\n"


def _write_media(uploads: Path, shape: Shape) -> None:
    for number in range(shape.photos):
        path = uploads / f"{2022 + number % 3}/{number % 12 + 1:02}/photo-{number:03}.jpg"
        # From a half to one and a half of the mean, as photos vary.
        size = shape.photo_bytes // 2 + shape.photo_bytes * (number % 11) // 10
        _write(path, b"\xff\xd8\xff\xe0" + incompressible(path.name, size))
    video = uploads / "2024/03/arrival-of-the-fleet.mp4"
    _write(video, b"\0\0\0\x18ftypmp42" + incompressible(video.name, shape.video_bytes))
    for number in range(shape.drawings):
        line = bytes(value * number % 251 for value in range(997))
        picture = b"BM" + line * (shape.drawing_bytes // len(line))
        _write(uploads / f"2023/05/drawing-{number:02}.bmp", picture)


def _write_what_is_left_out(site: Path) -> None:
    texts: dict[str, Callable[[], bytes]] = {
        "wp-content/cache/page/index.html": lambda: b"<p>cached</p>\n" * 5_000,
        "wp-content/debug.log": lambda: b"[15-Jan-2024 10:00:00 UTC] PHP Notice\n" * 2_000,
        "wp-content/updraft/backup_2023-uploads.zip": lambda: incompressible("old", 200_000),
        "wp-content/plugins/harbour/node_modules/left/index.js": lambda: b"module.exports={};\n",
    }
    for name, content in texts.items():
        _write(site / name, content())


def _write_rarities(uploads: Path) -> None:
    """Write what is in few sites, and was lost by some backup of each of them."""
    rare = uploads / "rare"
    (rare / "an empty folder").mkdir(parents=True)
    _write(rare / "an empty file.txt", b"")
    _write(rare / "Größe und Maß – 日本 \U0001f6a2.txt", b"emoji in a name")
    _write(rare / f"{'long-' * 40}name.txt", b"205 bytes of name")
    _write(Path(rare, *["folder-of-a-deep-path"] * 12) / "deep.txt", b"beyond 255 bytes of path")
    _write(rare / "name with\nnewline.txt", b"newline")
    _write(rare / "restart.sh", b"#!/bin/sh\nexit 0\n")
    _write(rare / "private.txt", b"mode 0600")
    _write(rare / "original.bin", incompressible("original", 30_000))
    os.link(rare / "original.bin", rare / "same-as-original.bin")
    (rare / "link-to-original.bin").symlink_to("original.bin")
    (rare / "link-to-nothing").symlink_to("was/removed/long/ago")
    (rare / "link-to-folder").symlink_to("an empty folder")


def _set_modes_and_times(site: Path) -> None:
    """Give every entry its mode and time, children before their folder, in the order of names."""
    modes = {"restart.sh": 0o755, "private.txt": 0o600, "wp-config.php": 0o640}
    entries = sorted(site.rglob("*"), key=lambda path: (-len(path.parts), os.fsencode(path)))
    for number, path in enumerate([*entries, site]):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else modes.get(path.name, 0o644))
        moment = FIRST_MTIME_NS + number * STEP_NS
        os.utime(path, ns=(moment, moment), follow_symlinks=False)

"""Restores a bundle with the system's `tar` alone, and compares the result with the source."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.embedded import sample_site
from workers.embedded.compare_databases import compare_databases, load_dump
from workers.embedded.compare_files import compare_files, shown
from workers.engine.errors import EngineError
from workers.engine.excludes import DEFAULT_PATTERNS, Excludes
from workers.engine.process import find_program, python_argv, run, spawn
from workers.engine.wordpress import database_spec, inspect_site

SQLITE_COMPANIONS = ("", "-wal", "-shm", "-journal")
SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Source:
    """What was backed up.

    `roots` maps the names in the bundle to where they come from; `sqlite` is the database's file,
    None for another engine. `planted` is exactly what must be left out, where that is known.
    """

    roots: Mapping[str, Path]
    engine: str
    sqlite: Path | None
    planted: frozenset[bytes] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing found: lines for a person, and what is not as it was."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]


def source_of(site: Path, *, is_sample: bool) -> Source:
    """Look at a site on disk; raises `EngineError` where it is none."""
    inspection = inspect_site(site, allowed_roots=[site, site.parent])
    assert inspection.config is not None
    assert inspection.content_directory is not None
    spec = database_spec(inspection.config)
    planted = {os.fsencode(name) for name in (*sample_site.LEFT_OUT, sample_site.DATABASE)}
    return Source(
        roots={
            "wp-config.php": inspection.config.path,
            "wp-content": inspection.content_directory,
        },
        engine=spec.engine,
        sqlite=Path(spec.name) if spec.engine == "sqlite" else None,
        planted=frozenset(planted) if is_sample else None,
    )


def restore(bundle: Path, target: Path, *, check: Callable[[], None]) -> str:
    """Unpack the bundle into a new folder `target`; return the command that did it.

    Raises `EngineError` where `tar` is missing or fails.
    """
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(mode=0o700)
    tar = find_program("tar", hint="Install tar, then start again.")
    # -p, since without it tar takes the umask off the modes for everybody but root.
    if shutil.which("zstd"):
        run([tar, "--zstd", "-xpf", str(bundle), "-C", str(target)], check=check)
        return "tar --zstd -xpf"
    # A tar without the zstd program is still a tar: only the decompression is ours then.
    reading, writing = os.pipe()
    with contextlib.ExitStack() as stack:
        close_reading = stack.enter_context(contextlib.ExitStack())
        close_reading.callback(os.close, reading)
        close_writing = stack.enter_context(contextlib.ExitStack())
        close_writing.callback(os.close, writing)
        argv = [*python_argv("workers.embedded.unzstd"), str(bundle), str(writing)]
        with spawn([tar, "-xpf", "-", "-C", str(target)], stdin=reading, check=check) as unpacking:
            close_reading.close()
            with spawn(argv, pass_fds=(writing,), cwd=str(PROJECT), check=check) as decompressing:
                close_writing.close()
                decompressing.finish()
            unpacking.finish()
    return "python's zstandard | tar -xpf - (there is no zstd program here)"


PROJECT = Path(__file__).resolve().parents[2]


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(source: Source, restored: Path, scratch: Path) -> Verdict:
    """Compare every file and, for SQLite, every row; `scratch` is a file that may be written."""
    found = compare_files(source.roots, restored)
    problems = [str(difference) for difference in found.differences]
    problems += _unexplained(source, found.left_out)
    lines = [
        f"{found.files} files, {found.bytes_compared / 1e6:.1f} MB compared byte for byte, "
        "with modes, times and links",
        f"{len(found.left_out)} paths left out on purpose (caches, logs, other backups, "
        "the live database file)",
    ]
    if not found.files:
        problems.append("not one file was restored")
    dump = restored / "database.sql"
    if not dump.is_file():
        problems.append("database.sql was not restored")
    elif source.sqlite is None:
        size = f"{dump.stat().st_size / 1e6:.1f} MB"
        lines.append(
            f"database.sql is there ({size}), but not compared: the demo has no "
            f"{source.engine} server to load it into"
        )
    else:
        line, different = _compare_rows(source.sqlite, dump, scratch)
        lines.append(line)
        problems += different
    return Verdict(tuple(lines), tuple(problems))


def _compare_rows(sqlite: Path, dump: Path, scratch: Path) -> tuple[str, list[str]]:
    scratch.unlink(missing_ok=True)
    try:
        load_dump(dump, scratch)
        found = compare_databases(sqlite, scratch)
    except (sqlite3.Error, ValueError) as error:
        return "database.sql does not load", [f"database.sql: {error}"]
    finally:
        scratch.unlink(missing_ok=True)
    problems = [f"database: {difference}" for difference in found.differences]
    if not found.tables:
        problems.append("database: there is not one table in it")
    line = f"{found.tables} tables, {found.rows} rows compared after loading database.sql"
    return line, problems


def _unexplained(source: Source, left_out: tuple[bytes, ...]) -> list[str]:
    """Return a sentence for everything that is missing, or there, and should not be."""
    if source.planted is not None:
        missing = sorted(set(left_out) - source.planted)
        kept = sorted(source.planted - set(left_out))
        return [f"{shown(name)}: was not restored" for name in missing] + [
            f"{shown(name)}: should have been left out" for name in kept
        ]
    exact = []
    content = source.roots["wp-content"]
    if source.sqlite is not None and source.sqlite.is_relative_to(content):
        inside = f"wp-content/{source.sqlite.relative_to(content)}"
        exact = [os.fsencode(inside + companion) for companion in SQLITE_COMPANIONS]
    excludes = Excludes(DEFAULT_PATTERNS, exact_paths=exact)
    return [
        f"{shown(name)}: was not restored"
        for name in left_out
        if not _may_be_missing(source, name, excludes)
    ]


def _may_be_missing(source: Source, name: bytes, excludes: Excludes) -> bool:
    root, slash, rest = name.partition(b"/")
    path = os.fsencode(source.roots[os.fsdecode(root)]) + slash + rest
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return True  # it is gone from the source as well
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        return True
    return excludes.match(name, is_folder=stat.S_ISDIR(mode)) is not None


def require_room(folder: Path, needed_bytes: int) -> None:
    """Raise `EngineError` unless the disk below `folder` has that much room."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise EngineError(
            f"The demo needs {needed_bytes / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free",
            hint="Free some room, or run it from a folder on another disk.",
        )

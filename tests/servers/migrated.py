"""What migrations make of an empty database, kept for the next one of its kind.

They take four seconds of a processor, and there are dozens of installations in a test run. What
they do from nothing on each kind of database is seen in `tests/contracts/test_panel_databases.py`.
It is kept beside pytest's cache under a name that changes with the migrations. Installations whose
URL has no password, since it is in a file, run the migrations themselves.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".pytest_cache" / "migrated"
# What the packages bring has migrations as well.
SOURCES = ("backups/migrations/*.py", "panel/**/migrations/*.py", "requirements/*.txt")


def fill(url: str, variant: str) -> bool:
    """Fill an empty database as another one of its kind was; False if none is kept."""
    kept = _kept(url, variant)
    if not _is_whole(url) or not kept.exists():
        return False
    if url.startswith("sqlite:"):
        _file(url).write_bytes(kept.read_bytes())
    else:
        _run(*_client(url), sql=kept.read_bytes())
    return True


def keep(url: str, variant: str) -> None:
    """Keep what a database holds."""
    if not _is_whole(url):
        return
    if url.startswith("sqlite:"):
        # Who closes it last leaves all of it in the one file.
        assert not _file(url).with_name(f"{_file(url).name}-wal").exists()
        content = _file(url).read_bytes()
    else:
        content = _run(*_dump(url))
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = _kept(url, variant)
    # Other processes of the run may do the same at this moment.
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_bytes(content)
    part.replace(kept)


def _is_whole(url: str) -> bool:
    """Whether the URL is all that a client needs."""
    return url.startswith("sqlite:") or bool(urlsplit(url).password)


@cache
def _digest() -> str:
    hasher = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def _kept(url: str, variant: str) -> Path:
    return CACHE / f"{url.partition(':')[0]}-{variant}-{_digest()}"


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _client(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the words of the command-line client, and the environment that has its password."""
    place = urlsplit(url)
    host, port, user = str(place.hostname), str(place.port), unquote(place.username or "")
    password, name = unquote(place.password or ""), place.path.removeprefix("/")
    if place.scheme == "mysql":
        argv = ["mariadb", f"--host={host}", f"--port={port}", f"--user={user}", name]
        return argv, {"MYSQL_PWD": password}
    argv = ["psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    address = [f"--host={host}", f"--port={port}", f"--username={user}", f"--dbname={name}"]
    return [*argv, *address], {"PGPASSWORD": password}


def _dump(url: str) -> tuple[list[str], dict[str, str]]:
    argv, environment = _client(url)
    if argv[0] == "mariadb":
        return ["mariadb-dump", *argv[1:]], environment
    return ["pg_dump", "--no-owner", "--no-privileges", *argv[-4:]], environment


def _run(argv: list[str], environment: dict[str, str], sql: bytes = b"") -> bytes:
    done = subprocess.run(argv, input=sql, env={**os.environ, **environment}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout

"""Looks for an installation's secrets where none may be: logs, command lines, the database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psutil

# Prints where any of the texts in `wanted` stands in a row, whichever database it is.
SEARCH = """
from django.db import connection
with connection.cursor() as cursor:
    for table in connection.introspection.table_names(cursor):
        cursor.execute(f"SELECT * FROM {{connection.ops.quote_name(table)}}")
        text = repr(cursor.fetchall())
        print(*[f"FOUND {{one}} in {{table}}" for one in {wanted!r} if one in text])
print("SEARCHED")
"""


def spellings(secret: str) -> set[str]:
    """Return how a secret may stand in a text."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, quote(secret, safe=""), encoded, json.dumps(secret)[1:-1]}


def secrets_of(environment: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of an installation by name: those that its environment holds, and more."""
    found = {name: value for name, value in more.items() if value}
    for name in ("HOLDFAST_SECRET_KEY", "HOLDFAST_ENCRYPTION_KEYS", "HOLDFAST_METRICS_TOKEN"):
        if environment.get(name):
            found[name] = environment[name]
    for name in ("HOLDFAST_DATABASE_URL", "HOLDFAST_BROKER_URL"):
        password = urlsplit(environment.get(name, "")).password
        # One that is a word of everyday use, as a test server's may be, would be found anywhere.
        if password and len(password) >= 8:
            found[name] = unquote(password)
    for url in environment.get("HOLDFAST_SCRATCH_DATABASES", "").split(","):
        if password := urlsplit(url).password:
            found[f"HOLDFAST_SCRATCH_DATABASES: {urlsplit(url).username}"] = unquote(password)
    return found


def in_files(secrets: Mapping[str, str], paths: Iterable[Path]) -> list[str]:
    """Return `<name> in <file>` for each secret that a file holds."""
    found = []
    for path in paths:
        text = path.read_bytes()
        for name, secret in secrets.items():
            if any(one.encode() in text for one in spellings(secret)):
                found.append(f"{name} in {path.name}")
    return found


def in_sqlite(secrets: Mapping[str, str], path: Path) -> list[str]:
    """Return `<name> in <table>` for each secret that a row of the file holds in plain text."""
    found = set()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in names:
            text = repr(database.execute(f'SELECT * FROM "{table}"').fetchall())
            found |= {f"{name} in {table}" for name, secret in secrets.items() if secret in text}
    database.close()
    return sorted(found)


def in_command_lines(secrets: Mapping[str, str], processes: Iterable[int]) -> list[str]:
    """Return `<name> in the arguments of <program>` for these processes and what they started."""
    found = []
    for number in processes:
        try:
            tree = [psutil.Process(number), *psutil.Process(number).children(recursive=True)]
            lines = [(one.name(), " ".join(one.cmdline())) for one in tree]
        except psutil.Error:
            continue  # it has ended meanwhile
        for program, line in lines:
            found += [
                f"{name} in the arguments of {program}"
                for name, secret in secrets.items()
                if any(one in line for one in spellings(secret))
            ]
    return found

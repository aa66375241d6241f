"""The command-line clients of MySQL and MariaDB: how they sign in, and what their errors mean."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.causes import (
    AWAY,
    BUSY,
    CHANGED,
    DAMAGED,
    DENIED,
    LOST,
    PACKET,
    PLUGIN,
    REFUSED,
    UNKNOWN,
    explained,
)
from workers.engine.databases.private import (
    private_directory,
    readable,
    refuse_control_characters,
    write_private,
)
from workers.engine.errors import EngineError
from workers.engine.process import ProcessFailed, find_program, run

CONNECT_SECONDS = 20


# From MariaDB's "Error Codes" and MySQL's "Error Message Reference"; those from 2000 on are the
# client's, those below 200 the storage engines'.
_NUMBERS = {
    REFUSED: (1044, 1045, 1130, 1698, 1820, 1862, 4151),
    UNKNOWN: (1049,),
    DENIED: (1142, 1143, 1227, 1370),
    AWAY: (2002, 2003, 2005, 2026),
    LOST: (1053, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2006, 2012, 2013, 2055),
    BUSY: (1040, 1203, 1205, 1213, 1226),
    CHANGED: (1051, 1146, 1412),
    DAMAGED: (
        126,
        127,
        130,
        134,
        135,
        136,
        144,
        145,
        1033,
        1034,
        1035,
        1194,
        1195,
        1286,
        1712,
        1877,
        1932,
    ),
    PLUGIN: (1251, 1275, 2054, 2059, 2061),
    PACKET: (1153, 2020),
}
CAUSES = {number: cause for cause, numbers in _NUMBERS.items() for number in numbers}

# As PHP does it, so that the site and its backup reach the same server: encrypted where the server
# offers it, no proof asked of who it is (MariaDB's clients ask for one since 11.4). Groups decide
# who reads what: the dump tools know no connect-timeout, Oracle's no ssl-verify-server-cert.
_OPTION_FILE = """[client]
{settings}
[client-mariadb]
ssl-verify-server-cert=0
[mysql]
connect-timeout={seconds}
"""

# The client writes "ERROR 1045 (28000): …", the dump tools "Got error: 1045: …" or "… (1142)".
_NUMBER = re.compile(r"\b(?:error:?) (\d{3,4})\b|\((\d{3,4})\)$", re.IGNORECASE | re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "r": "\r"}


def error_number(stderr: str) -> int | None:
    """Return the first error number that a client names, None if it names none."""
    found = _NUMBER.search(stderr)
    return int(found[1] or found[2]) if found else None


def explain(failure: ProcessFailed, doing: str) -> EngineError:
    """Return what a client's failure means while it was `doing` (as in "The dump of x")."""
    number = error_number(failure.stderr)
    return explained(failure, doing, CAUSES.get(number) if number is not None else None)


def quote_option(value: str) -> str:
    """Return `value` as it must stand in an option file, whatever characters it has."""
    for character, escape in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        value = value.replace(character, escape)
    return f'"{value}"'


def quote_name(name: str) -> str:
    """Return a table's or database's name as it must stand in a statement."""
    return "`" + name.replace("`", "``") + "`"


def quote_text(value: str) -> str:
    """Return text as it must stand in a statement, whatever the session's sql_mode is."""
    return f"CONVERT(0x{value.encode().hex()} USING utf8mb4)" if value else "''"


class MySQLClient:
    """Runs the clients for one database with an option file. Made by `connected` only."""

    def __init__(self, spec: DatabaseSpec, options: Path, check: Callable[[], None]) -> None:
        self.spec = spec
        self.options = options
        self.check = check
        # The user's ~/.my.cnf and the host's own files would be read after ours with
        # --defaults-extra-file, and may hold another password, or "no-data": so only ours is read.
        self.arguments = [f"--defaults-file={options}"]
        # Oracle's clients read ~/.mylogin.cnf even so.
        self.environment = {"HOME": str(options.parent)}
        self.secrets = [spec.password]

    def query(self, statements: str, *, force: bool = False) -> list[tuple[str, ...]]:
        """Run statements and return all their rows as text; NULL reads as "NULL".

        With `force` a statement that fails is passed over. Raises `EngineError`.
        """
        with readable(f"SET SESSION TRANSACTION READ ONLY;\n{statements};\n") as stdin:
            answer = self._run(stdin, ["--force"] if force else [], "A query of")
        lines = answer.decode("utf-8", "replace").split("\n")[:-1]
        return [tuple(_unescape(cell) for cell in line.split("\t")) for line in lines]

    def execute(self, statements: str) -> None:
        """Run statements that write, one after another; raises `EngineError` at the first failure.

        Statements may hold line breaks and any text: the client obeys no commands but DELIMITER.
        """
        with readable(f"{statements};\n") as stdin:
            self._run(stdin, ["--binary-mode"], "A change of")

    def client(self, *more: str) -> list[str]:
        """Return the command that reads statements from standard input."""
        return [
            find_program("mariadb", "mysql", hint="Install mariadb-client on the node."),
            *self.arguments,
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            "--local-infile=0",  # or a hostile server could ask for any file of this host
            *more,
            f"--database={self.spec.name}",
        ]

    def _run(self, stdin: int, more: list[str], doing: str) -> bytes:
        try:
            return run(
                self.client(*more),
                environment=self.environment,
                secrets=self.secrets,
                check=self.check,
                stdin=stdin,
            )
        except ProcessFailed as failure:
            raise explain(failure, f"{doing} database {self.spec.name}") from failure


@contextlib.contextmanager
def connected(
    spec: DatabaseSpec, check: Callable[[], None], scratch_directory: str | None = None
) -> Iterator[MySQLClient]:
    """Yield a client; its option file (mode 0600) lies below `scratch_directory` until the end."""
    for label, value in (("user", spec.user), ("password", spec.password), ("name", spec.name)):
        refuse_control_characters(label, value)
    with private_directory(scratch_directory) as directory:
        options = directory / "client.cnf"
        write_private(options, _option_file(spec))
        yield MySQLClient(spec, options, check)


def _option_file(spec: DatabaseSpec) -> str:
    settings = {"user": spec.user, "password": spec.password}
    if spec.socket:
        settings |= {"socket": spec.socket, "protocol": "socket"}
    elif spec.host and spec.host != "localhost":
        settings |= {"host": spec.host, "port": str(spec.port or 3306), "protocol": "tcp"}
    lines = (f"{name}={quote_option(value)}" for name, value in settings.items())
    return _OPTION_FILE.format(settings="\n".join(lines), seconds=CONNECT_SECONDS)


def _unescape(cell: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)

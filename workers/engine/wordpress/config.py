"""Reads `wp-config.php` as people write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.php.files import MAX_FILE_BYTES, SiteFiles
from workers.engine.php.interpreter import Evaluation, evaluate_file
from workers.engine.php.state import NO_NOTES, Binding
from workers.engine.php.values import Absent, Unknown, truth
from workers.engine.wordpress.host import DatabaseHost, parse_database_host

BY_HAND = "enter the database by hand in the site's settings"
_MINOR = frozenset(("DB_CHARSET", "DB_COLLATE"))
_NOTES_SHOWN = 4
PREFIX = re.compile(r"[A-Za-z0-9_]+\Z")


@dataclass(frozen=True, slots=True)
class WordPressConfig:
    """What `wp-config.php` says. None where it says nothing or nothing that could be read.

    `problems` are sentences for a person: what could not be read, and what was assumed. A value
    is set only if it is what the file says, or what it says under an assumption that is listed.
    `is_sqlite` is True where the site's database is a file; `sqlite_file` then is its path as
    configured, not checked. Paths are absolute.
    """

    path: Path
    db_name: str | None = None
    db_user: str | None = None
    db_password: str | None = field(default=None, repr=False)
    db_host: str | None = None
    host: DatabaseHost | None = None
    charset: str | None = None
    collate: str | None = None
    table_prefix: str | None = None
    content_directory: Path | None = None
    site_url: str | None = None
    home: str | None = None
    is_sqlite: bool = False
    sqlite_file: Path | None = None
    is_multisite: bool = False
    problems: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the database can be reached with what is known."""
        if self.table_prefix is None:
            return False
        if self.is_sqlite:
            return self.sqlite_file is not None
        known = (self.db_name, self.db_user, self.db_password, self.host)
        return all(value is not None for value in known)


def read_wp_config(
    path: Path, environment: Mapping[str, str] | None = None, *, site: Path | None = None
) -> WordPressConfig:
    """Return what the `wp-config.php` at `path` says, without running it.

    `environment` is all of the one that the site's PHP sees, if an operator vouches for it; never
    the worker's own, whose secrets a site's owner could then read out. Without it, a variable that
    the file asks for counts as not set, and the problems say so. `site` is the folder of
    WordPress itself, where it is not that of the file. Other files are read only below the site
    and the folder above it, and only such as the owner of `wp-config.php` may read.

    Raises `EngineError` with code `wp_config_missing` or `wp_config_unreadable`, permanent, when
    the file itself cannot be read. What is in it never raises.
    """
    path = Path(_resolved(path))
    folder = (site or _site_of(path)).resolve()
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be looked at") from error
    roots = tuple({folder, folder.parent, path.parent} - {Path("/")})
    files = SiteFiles(roots, facts.st_uid, environment)
    opened = files.read(str(path))
    if isinstance(opened, Unknown):
        raise _unreadable(path, opened.reason)
    evaluation = evaluate_file(path, files=files, constants={"ABSPATH": f"{folder}/"})
    return _Reader(path, folder, evaluation).config()


def _resolved(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise EngineError(
            f"{path} cannot be found",
            hint=f"Give the path of wp-config.php, or {BY_HAND}.",
            permanent=True,
            code="wp_config_missing",
        ) from error


def _site_of(path: Path) -> Path:
    """Return the folder that WordPress is in: the file may lie one above it."""
    if (path.parent / "wp-settings.php").exists() or (path.parent / "wp-content").exists():
        return path.parent
    below = [entry.parent for entry in path.parent.glob("*/wp-settings.php")]
    return below[0] if len(below) == 1 else path.parent


def _unreadable(path: Path, reason: str) -> EngineError:
    return EngineError(
        f"{path} cannot be read: {reason}",
        hint="Let the worker's user read a plain wp-config.php of at most "
        f"{MAX_FILE_BYTES >> 10} KiB, or {BY_HAND}.",
        permanent=True,
        code="wp_config_unreadable",
    )


def _shortened(notes: frozenset[str]) -> str:
    shown = "; ".join(sorted(notes)[:_NOTES_SHOWN])
    more = len(notes) - _NOTES_SHOWN
    return f"{shown}; and {more} more like it" if more > 0 else shown


class _Reader:
    """Takes the settings out of what the file defined, and words what is wrong with them."""

    def __init__(self, path: Path, site: Path, evaluation: Evaluation) -> None:
        self.path = path
        self.site = site
        self.evaluation = evaluation
        self.assumptions: dict[frozenset[str], list[str]] = {}
        self.problems = [f"{path.name}: {problem}" for problem in evaluation.problems]

    def config(self) -> WordPressConfig:
        content = self._text("WP_CONTENT_DIR")
        content_directory = self._absolute("WP_CONTENT_DIR", content)
        folder = content_directory or self.site / "wp-content"
        is_sqlite = self._is_sqlite(folder)
        needed = not is_sqlite
        db_host = self._text("DB_HOST", needed=needed)
        config = WordPressConfig(
            path=self.path,
            db_name=self._text("DB_NAME", needed=needed) or None,
            db_user=self._text("DB_USER", needed=needed),
            db_password=self._text("DB_PASSWORD", needed=needed),
            db_host=db_host,
            host=self._host(db_host),
            charset=self._text("DB_CHARSET"),
            collate=self._text("DB_COLLATE"),
            table_prefix=self._prefix(),
            content_directory=content_directory,
            site_url=self._text("WP_SITEURL"),
            home=self._text("WP_HOME"),
            is_sqlite=is_sqlite,
            sqlite_file=self._sqlite_file(folder) if is_sqlite else None,
            is_multisite=self._flag("MULTISITE"),
        )
        return replace(config, problems=tuple(dict.fromkeys([*self.problems, *self._assumed()])))

    def _assumed(self) -> Iterator[str]:
        """Word what was assumed, once for all settings that hang on the same."""
        for notes, names in self.assumptions.items():
            is_are = "is" if len(set(names)) == 1 else "are"
            listed = ", ".join(dict.fromkeys(names))
            yield (
                f"{self.path.name}: {listed} {is_are} right only if this has no part in it: "
                f"{_shortened(notes)}. If it has, {BY_HAND}"
            )

    def _text(self, name: str, *, needed: bool = False) -> str | None:
        return self._value(name, self.evaluation.constants.get(name), needed=needed)

    def _value(self, name: str, binding: Binding | None, *, needed: bool) -> str | None:
        """Return a setting that is a text; say what is wrong with it otherwise."""
        if binding is None or isinstance(binding.value, Absent):
            if needed:
                notes = (binding.notes if binding else NO_NOTES) | self.evaluation.caution
                because = f" ({_shortened(notes)})" if notes else ""
                self.problems.append(f"{self.path.name} does not set {name}{because}: {BY_HAND}")
            return None
        where = f"{Path(binding.file).name}, line {binding.line}"
        value = binding.value
        if isinstance(value, Unknown):
            # The reason may quote a part of the value: "pa$word" without a variable $word.
            because = "" if name == "DB_PASSWORD" else f" ({value.reason})"
            self.problems.append(f"{where}: {name} cannot be told{because}: {BY_HAND}")
            return None
        if value is None or isinstance(value, bool | float | dict):
            because = f" ({_shortened(binding.notes)})" if binding.notes else ""
            if needed or value:
                self.problems.append(f"{where}: {name} is no text{because}: {BY_HAND}")
            return None
        if binding.notes and name not in _MINOR:
            self.assumptions.setdefault(binding.notes, []).append(name)
        result = str(value)
        if not result.isascii() and self.evaluation.encodings.get(binding.file) != "utf-8":
            self.problems.append(
                f"{where}: {name} is not in UTF-8 and was read as Latin-1; if it is wrong, "
                f"{BY_HAND}"
            )
        if "\0" in result:
            self.problems.append(f"{where}: {name} holds a zero byte: {BY_HAND}")
            return None
        return result

    def _prefix(self) -> str | None:
        binding = self.evaluation.variables.get("table_prefix")
        prefix = self._value("$table_prefix", binding, needed=True)
        if prefix is not None and not PREFIX.match(prefix):
            self.problems.append(
                f"{self.path.name}: $table_prefix may hold only letters, digits and _: {BY_HAND}"
            )
            return None
        return prefix

    def _host(self, db_host: str | None) -> DatabaseHost | None:
        if db_host is None:
            return None
        host = parse_database_host(db_host)
        if host is None:
            self.problems.append(f"{self.path.name}: DB_HOST is no host: {BY_HAND}")
        return host

    def _absolute(self, name: str, value: str | None) -> Path | None:
        if not value:
            return None
        if not value.startswith("/"):
            self.problems.append(f"{self.path.name}: {name} is no absolute path and is not used")
            return None
        return Path(value)

    def _flag(self, name: str) -> bool:
        binding = self.evaluation.constants.get(name)
        if binding is None or isinstance(binding.value, Absent):
            return False
        if isinstance(binding.value, Unknown):
            self.problems.append(
                f"{self.path.name}: {name} cannot be told ({binding.value.reason})"
            )
            return False
        return truth(binding.value) is True

    def _is_sqlite(self, content_directory: Path) -> bool:
        """Tell as the plugin "SQLite Database Integration" does: by its drop-in and DB_ENGINE."""
        engine = self._text("DB_ENGINE") or self._text("DATABASE_TYPE")
        if engine is not None:
            return engine.lower() == "sqlite"
        drop_in = content_directory / "db.php"
        try:
            with drop_in.open("rb") as file:
                return b"sqlite" in file.read(64 << 10).lower()
        except OSError:
            return False

    def _sqlite_file(self, content_directory: Path) -> Path | None:
        for name in ("FQDB", "FQDBDIR", "DB_DIR", "DB_FILE"):
            if self._is_unknown(name):
                # Its problem is listed by the look-up below; a default would be a wrong value.
                self._text(name)
                return None
        if full := self._text("FQDB"):
            return self._absolute("FQDB", full)
        folder = self._text("FQDBDIR") or self._text("DB_DIR")
        directory = self._absolute("DB_DIR", folder) if folder else content_directory / "database"
        return directory / (self._text("DB_FILE") or ".ht.sqlite") if directory else None

    def _is_unknown(self, name: str) -> bool:
        binding = self.evaluation.constants.get(name)
        return binding is not None and isinstance(binding.value, Unknown)

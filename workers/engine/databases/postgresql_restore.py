"""Restores to PostgreSQL: whole databases (`postgresql_switch`) or tables (`postgresql_rows`).

For whole databases the user owns the database and may make others (CREATEDB). The new one takes
over the old one's owner, encoding, locale, settings, grants and comment; grants within it are not
in dumps. Needs PostgreSQL 13 or newer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.engine.databases.base import SILENT, DatabaseSpec, DatabaseSwitch, unchecked
from workers.engine.databases.causes import DENIED
from workers.engine.databases.postgresql import PostgreSQLDatabase, ask
from workers.engine.databases.postgresql_load import load
from workers.engine.databases.postgresql_rows import RowsSwitch, load_rows
from workers.engine.databases.postgresql_switch import (
    Maintenance,
    Places,
    PostgreSQLSwitch,
    quote_text,
)
from workers.engine.databases.scratch_names import scratch_name
from workers.engine.databases.sqlite_text import quote_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

NAME_BYTES = 63

# Settings whose value is a list of quoted names, which must not be quoted again.
_LISTS = "'search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries'"
_PROPERTIES = """
    WITH d AS (SELECT * FROM pg_database WHERE datname = {live}),
    s AS (SELECT setrole, split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value
          FROM d JOIN pg_db_role_setting ON setdatabase = d.oid, unnest(setconfig) c)
    SELECT format('ALTER %s SET %I TO %s',
        CASE setrole WHEN 0 THEN format('DATABASE %I', {new}::text)
        ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), {new}::text) END,
        name, CASE WHEN name IN ({lists}) THEN value ELSE quote_literal(value) END) FROM s
    UNION ALL SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', {new}::text, datconnlimit)
        FROM d WHERE datconnlimit > 0
    UNION ALL SELECT format('COMMENT ON DATABASE %I IS %L', {new}::text,
        shobj_description(oid, 'pg_database')) FROM d
        WHERE shobj_description(oid, 'pg_database') IS NOT NULL
    UNION ALL SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', {new}::text) FROM d
        WHERE datacl IS NOT NULL
    UNION ALL SELECT format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, {new}::text,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
        FROM d, aclexplode(d.datacl) a
"""


class PostgreSQLRestorer:
    """Restores to one database of a PostgreSQL server. See `base.Restorer`."""

    def __init__(self, spec: DatabaseSpec, lenders: Sequence[DatabaseSpec] = ()) -> None:
        # Renaming a database takes being its owner: nobody can lend that.
        self._spec = spec

    def prepare(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        tables: Collection[str] | None = None,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> DatabaseSwitch:
        """See `Restorer.prepare`.

        With `tables`, rows alone are exchanged, and `pieces` may be the dump's head and these
        tables' parts.
        """
        if tables is not None:
            return self._prepare_rows(pieces, label, tables, scratch_directory, check, reporter)
        new, old = self._names(label)
        server = Maintenance(self._spec, check)
        if old in server.numbers().values():
            raise EngineError(
                f"An earlier restore left the database {old}",
                hint="Settle that restore first: revert it, or discard what it replaced.",
                permanent=True,
                code="restore_unsettled",
            )
        with self._loaded(new, pieces, scratch_directory, check, reporter) as counts:
            self._take_over_properties(server, new)
            by_name = {name: number for number, name in server.numbers().items()}
            places = Places(self._spec.name, new, old, by_name[self._spec.name], by_name[new])
        return PostgreSQLSwitch(self._spec, places, counts, check)

    def make_database(self, *, check: Callable[[], None] = unchecked) -> None:
        """See `Restorer.make_database`."""
        server = Maintenance(self._spec, check)
        if self._spec.name not in server.numbers().values():
            server.ask(f"CREATE DATABASE {quote_name(self._spec.name)}")

    def from_record(
        self, record: Mapping[str, Any], *, check: Callable[[], None] = unchecked
    ) -> DatabaseSwitch:
        """See `Restorer.from_record`."""
        if record["what"] == "rows":
            chosen = [(table, columns) for table, columns in record["chosen"]]
            return RowsSwitch(self._spec, record["schema"], chosen, check=check)
        places = {name: record[name] for name in Places.__slots__}
        return PostgreSQLSwitch(self._spec, Places(**places), check=check)

    @contextlib.contextmanager
    def scratch(
        self,
        pieces: Iterable[bytes],
        *,
        label: str,
        scratch_directory: str,
        check: Callable[[], None] = unchecked,
        reporter: Reporter = SILENT,
    ) -> Iterator[PostgreSQLDatabase]:
        """See `Restorer.scratch`."""
        new, _old = self._names(label)
        with self._loaded(new, pieces, scratch_directory, check, reporter):
            yield PostgreSQLDatabase(replace(self._spec, name=new))
        Maintenance(self._spec).drop(new)

    def drop_leftovers(
        self, labels: Iterable[str], *, check: Callable[[], None] = unchecked
    ) -> None:
        """See `Restorer.drop_leftovers`. An exchange is never half done: one transaction."""
        server = Maintenance(self._spec, check)
        for label in labels:
            new, old = self._names(label)
            names = set(server.numbers().values())
            if self._spec.name in names:
                server.allow_connections(self._spec.name)
                for name in names & {new, old}:
                    server.drop(name)
                self._drop_schema(label, check)

    def _names(self, label: str) -> tuple[str, str]:
        name = self._spec.name
        return (
            scratch_name(name, label, limit=NAME_BYTES),
            scratch_name(name, label, "_old", limit=NAME_BYTES),
        )

    @contextlib.contextmanager
    def _loaded(
        self,
        name: str,
        pieces: Iterable[bytes],
        scratch_directory: str,
        check: Callable[[], None],
        reporter: Reporter,
    ) -> Iterator[dict[str, int | None]]:
        """Load a dump into the new database `name`, which is dropped where the block raises."""
        server = Maintenance(self._spec, check)
        self._create(server, name)
        try:
            scan = load(
                replace(self._spec, name=name),
                pieces,
                check=check,
                reporter=reporter,
                scratch_directory=scratch_directory,
            )
            yield dict(scan.tables)
        except BaseException:
            with contextlib.suppress(EngineError):
                Maintenance(self._spec).drop(name)
            raise

    def _create(self, server: Maintenance, name: str) -> None:
        """Make an empty database like the live one."""
        rows = server.ask(
            "SELECT to_jsonb(d), pg_encoding_to_char(encoding), pg_get_userbyid(datdba)"  # noqa: S608
            f" FROM pg_database d WHERE datname = {quote_text(self._spec.name)}",
            is_writing=False,
        )
        if not rows:
            # Signing in says what is wrong, in the words that everybody knows.
            PostgreSQLDatabase(self._spec).query("SELECT 1")
        [(document, encoding, owner)] = rows
        live = json.loads(document)
        options = {"OWNER": quote_name(owner), "ENCODING": quote_text(encoding)}
        options |= {
            "LC_COLLATE": quote_text(live["datcollate"]),
            "LC_CTYPE": quote_text(live["datctype"]),
        }
        if live.get("datlocprovider") == "i":
            locale = live.get("daticulocale") or live.get("datlocale")
            options |= {"LOCALE_PROVIDER": "icu", "ICU_LOCALE": quote_text(locale)}
        listed = " ".join(f"{option} {value}" for option, value in options.items())
        server.drop(name)
        try:
            server.ask(f"CREATE DATABASE {quote_name(name)} TEMPLATE template0 {listed}")
        except EngineError as error:
            if error.code != DENIED.code:
                raise
            raise EngineError(
                f"The user may not make the scratch database {name}, without which no whole"
                " database can be restored safely",
                hint=f"As an administrator: ALTER ROLE {quote_name(self._spec.user)} CREATEDB",
                permanent=True,
                code=DENIED.code,
            ) from error

    def _take_over_properties(self, server: Maintenance, new: str) -> None:
        live = quote_text(self._spec.name)
        question = _PROPERTIES.format(live=live, new=quote_text(new), lists=_LISTS)
        if statements := server.ask(question, is_writing=False):
            server.ask(";\n".join(statement for (statement,) in statements))

    def _prepare_rows(
        self,
        pieces: Iterable[bytes],
        label: str,
        tables: Collection[str],
        scratch_directory: str,
        check: Callable[[], None],
        reporter: Reporter,
    ) -> RowsSwitch:
        schema = _schema(label)
        if ask(self._spec, f"SELECT to_regclass('{schema}.switched')", check=check) != [("",)]:
            raise EngineError(
                f"An earlier restore left the schema {schema}",
                hint="Settle that restore first: revert it, or discard what it replaced.",
                permanent=True,
                code="restore_unsettled",
            )
        try:
            chosen, counts = load_rows(
                self._spec,
                schema,
                pieces,
                tables,
                check=check,
                reporter=reporter,
                scratch_directory=scratch_directory,
            )
        except BaseException:
            with contextlib.suppress(EngineError):
                self._drop_schema(label, unchecked)
            raise
        return RowsSwitch(self._spec, schema, chosen, counts, check)

    def _drop_schema(self, label: str, check: Callable[[], None]) -> None:
        RowsSwitch(self._spec, _schema(label), [], check=check).discard()


def _schema(label: str) -> str:
    return scratch_name("holdfast", label, limit=NAME_BYTES)

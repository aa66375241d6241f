"""Reaches a WordPress site's database and reads who the site says it is."""

from __future__ import annotations

from dataclasses import dataclass

from workers.engine.databases.base import Database, DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress.config import BY_HAND, PREFIX, WordPressConfig
from workers.engine.wordpress.tenancy import refuse_own_account

# What SQLite, and MySQL (error 1146, in English or not) say of a table that is not there.
_NO_SUCH_TABLE = ("no such table", "doesn't exist", "error 1146")
_OPTIONS = ("siteurl", "home", "blogname", "db_version")


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """What the options table says; empty where it has no such option.

    `name` is the blog's title, `database_version` the number of WordPress's schema.
    """

    site_url: str
    home: str
    name: str
    database_version: str


def database_spec(config: WordPressConfig) -> DatabaseSpec:
    """Return where the site's database is and who reads it.

    Raises `EngineError`, permanent, with code `wp_config_incomplete` when `wp-config.php` did not
    tell enough; the problems found are part of the message. `credentials_unusable` when it names
    the account that reads it.
    """
    if not config.is_complete or config.table_prefix is None:
        problems = "; ".join(config.problems) or "settings are missing"
        raise EngineError(
            f"{config.path} does not tell how to reach the database: {problems}",
            hint=f"Correct the file, or {BY_HAND}.",
            permanent=True,
            code="wp_config_incomplete",
        )
    if config.is_sqlite:
        return DatabaseSpec(
            engine="sqlite", name=str(config.sqlite_file), table_prefix=config.table_prefix
        )
    assert config.host is not None
    spec = DatabaseSpec(
        engine="mysql",
        name=config.db_name or "",
        host=config.host.host,
        port=config.host.port,
        socket=config.host.socket,
        user=config.db_user or "",
        password=config.db_password or "",
        table_prefix=config.table_prefix,
    )
    refuse_own_account(spec)
    return spec


def read_site_identity(database: Database, prefix: str) -> SiteIdentity:
    """Return what the table `<prefix>options` says about the site.

    Raises `EngineError` with code `not_wordpress`, permanent, where there is no such table or it
    holds no site URL; errors of the connection come through as they are.
    """
    if not PREFIX.match(prefix):
        raise _not_wordpress(f"{prefix!r} is no table prefix")
    table = f"{prefix}options"
    names = ", ".join(f"'{name}'" for name in _OPTIONS)
    # The prefix is letters, digits and "_" only, so it needs no quoting in any dialect.
    statement = f"SELECT option_name, option_value FROM {table} WHERE option_name IN ({names})"  # noqa: S608
    try:
        rows = database.query(statement)
    except EngineError as error:
        if _says_no_such_table(error, table):
            raise _not_wordpress(f"the database has no readable table {table}") from error
        raise
    options = {row[0]: row[1] or "" for row in rows if len(row) == 2}
    if not options.get("siteurl"):
        raise _not_wordpress(f"the table {table} holds no site URL")
    return SiteIdentity(
        site_url=options["siteurl"],
        home=options.get("home", ""),
        name=options.get("blogname", ""),
        database_version=options.get("db_version", ""),
    )


def _says_no_such_table(error: EngineError, table: str) -> bool:
    message = error.message.lower()
    return table.lower() in message and any(words in message for words in _NO_SUCH_TABLE)


def _not_wordpress(message: str) -> EngineError:
    return EngineError(
        f"The database is not this WordPress site's: {message}",
        hint="Check the database's name and the table prefix in the site's settings.",
        permanent=True,
        code="not_wordpress",
    )

"""Looks at a folder and tells whether, and which, WordPress site it holds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.engine.confinement import resolve_below
from workers.engine.errors import EngineError
from workers.engine.wordpress.config import BY_HAND, WordPressConfig, read_wp_config
from workers.engine.wordpress.tenancy import belongs_to_site

_VERSION = re.compile(r"^\s*\$wp_version\s*=\s*['\"]([^'\"]{1,40})['\"]", re.MULTILINE)
ANOTHER_OWNER = "outside the site's folder and with another owner"
_CONTAINERS = frozenset(
    ("public_html", "htdocs", "httpdocs", "public", "web", "www", "html", "wordpress", "wp", "app")
)


@dataclass(frozen=True, slots=True)
class SiteInspection:
    """What a folder holds.

    `is_complete` is True when the site can be backed up with what was found: its content and
    enough of `wp-config.php` to reach its database. `content_directory` is resolved and lies below
    the allowed folders, None where there is none. `problems` are sentences for a person.
    """

    name: str
    path: Path
    has_wp_config: bool
    has_wp_content: bool
    db_name: str | None
    is_complete: bool
    config: WordPressConfig | None
    content_directory: Path | None
    wordpress_version: str | None
    problems: tuple[str, ...]


def find_wp_config(site: Path) -> Path | None:
    """Return the site's `wp-config.php`: in it, or one folder up as WordPress itself looks for it.

    The one above counts only where that folder is no WordPress of its own.
    """
    own = site / "wp-config.php"
    if os.path.isfile(own):  # noqa: PTH113  (False, not an error, where it may not be looked at)
        return own
    above = site.parent / "wp-config.php"
    if os.path.isfile(above) and not os.path.lexists(site.parent / "wp-settings.php"):  # noqa: PTH113
        return above
    return None


def inspect_site(
    path: Path,
    *,
    allowed_roots: Sequence[Path],
    wp_config_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> SiteInspection:
    """Return what the folder `path` holds; see `read_wp_config` for `environment`.

    Raises `EngineError`, permanent: `path_not_allowed`; `site_not_found` where the folder is
    missing or has no wp-content; `wp_config_missing` where there is no `wp-config.php` (give
    `wp_config_path` where it has another place); `wp_config_unreadable`.
    """
    inspection = _examine(path, allowed_roots, wp_config_path, environment, strict=True)
    if inspection.config is None:
        raise EngineError(
            f"{inspection.path} has no wp-config.php",
            hint=f"Give the path of wp-config.php if it lies elsewhere, or {BY_HAND}.",
            permanent=True,
            code="wp_config_missing",
        )
    if not inspection.has_wp_content:
        raise EngineError(
            f"{inspection.path} has no folder wp-content",
            hint="Give the folder that WordPress is installed in. " + " ".join(inspection.problems),
            permanent=True,
            code="site_not_found",
        )
    return inspection


def examine(path: Path, *, allowed_roots: Sequence[Path]) -> SiteInspection:
    """Return what the folder holds, also where something is missing or cannot be read.

    Raises `path_not_allowed` and `site_not_found` as `inspect_site` does.
    """
    return _examine(path, allowed_roots, None, None, strict=False)


def _examine(
    path: Path,
    allowed_roots: Sequence[Path],
    wp_config_path: Path | None,
    environment: Mapping[str, str] | None,
    *,
    strict: bool,
) -> SiteInspection:
    site = resolve_below(path, allowed_roots)
    if not site.is_dir():
        raise _no_site(site, "is not a folder")
    problems: list[str] = []
    config_path = wp_config_path or find_wp_config(site)
    if config_path is None and not os.path.isdir(site / "wp-content"):  # noqa: PTH112
        raise _no_site(site, "holds neither wp-content nor wp-config.php")
    config: WordPressConfig | None = None
    if config_path is not None:
        try:
            resolved = _config_below(config_path, allowed_roots)
            if wp_config_path is None:
                _require_own_config(resolved, site)
            config = read_wp_config(resolved, environment, site=site)
            config = _with_own_database(config, site, allowed_roots)
            problems.extend(config.problems)
        except EngineError as error:
            if strict:
                raise
            problems.append(f"{error.message}. {error.hint}")
    content = _content_directory(site, config, allowed_roots, problems)
    complete = config is not None and config.is_complete
    return SiteInspection(
        name=_name(site, config),
        path=site,
        has_wp_config=config_path is not None,
        has_wp_content=content is not None,
        db_name=_database_name(config),
        is_complete=complete and content is not None,
        config=config,
        content_directory=content,
        wordpress_version=_version(site),
        problems=tuple(problems),
    )


def _no_site(site: Path, what: str) -> EngineError:
    return EngineError(
        f"{site} {what}",
        hint="Give the folder that WordPress is installed in: the one that holds wp-content.",
        permanent=True,
        code="site_not_found",
    )


def _config_below(path: Path, allowed_roots: Sequence[Path]) -> Path:
    try:
        return resolve_below(path, allowed_roots)
    except EngineError as error:
        if error.code == "site_not_found":
            error.code = "wp_config_missing"
        raise


def _content_directory(
    site: Path,
    config: WordPressConfig | None,
    allowed_roots: Sequence[Path],
    problems: list[str],
) -> Path | None:
    configured = config.content_directory if config else None
    candidate = configured or site / "wp-content"
    try:
        resolved = resolve_below(candidate, allowed_roots)
    except EngineError as error:
        if configured or error.code == "path_not_allowed":
            problems.append(f"The site's content: {error.message}. {error.hint}")
        return None
    if not resolved.is_dir():
        problems.append(f"The site's content: {candidate} is not a folder")
        return None
    if not belongs_to_site(resolved, site):
        problems.append(f"The site's content: {candidate} leads to {resolved}, {ANOTHER_OWNER}")
        return None
    return resolved


def _require_own_config(resolved: Path, site: Path) -> None:
    if resolved.parent != site.parent and not belongs_to_site(resolved, site):
        raise EngineError(
            f"The site's wp-config.php leads to {resolved}, {ANOTHER_OWNER}",
            hint="Give its path as wp_config_path if that is right.",
            permanent=True,
            code="path_not_allowed",
        )


def _with_own_database(
    config: WordPressConfig, site: Path, allowed_roots: Sequence[Path]
) -> WordPressConfig:
    """Return the configuration with its SQLite file resolved, or without one that is not its own.

    Such a configuration is incomplete, so nothing will ever open the file.
    """
    if not config.is_sqlite or config.sqlite_file is None:
        return config
    try:
        resolved = resolve_below(config.sqlite_file, allowed_roots)
        problem = "" if belongs_to_site(resolved, site) else f"{resolved} lies {ANOTHER_OWNER}"
    except EngineError as error:
        resolved, problem = None, error.sentences()
    if not problem:
        return replace(config, sqlite_file=resolved)
    told = (*config.problems, f"The site's database: {problem}")
    return replace(config, sqlite_file=None, problems=told)


def _database_name(config: WordPressConfig | None) -> str | None:
    if config is None:
        return None
    if config.is_sqlite:
        return config.sqlite_file.name if config.sqlite_file else None
    return config.db_name


def _name(site: Path, config: WordPressConfig | None) -> str:
    """Return a name for the site: its host where the file tells it, else its folder's.

    A folder like public_html is named after the one above it.
    """
    url = (config.home or config.site_url) if config else None
    if url and (match := re.match(r"https?://([A-Za-z0-9.-]+)(?::\d+)?(/[\w./-]*)?\Z", url)):
        return match[1] + (match[2] or "").rstrip("/").replace("/", "-")
    folder = site
    while folder.name.lower() in _CONTAINERS and folder.parent.name:
        folder = folder.parent
    return folder.name or "site"


def _version(site: Path) -> str | None:
    try:
        descriptor = os.open(
            site / "wp-includes" / "version.php", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except OSError:
        return None
    try:
        text = os.read(descriptor, 64 << 10).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    match = _VERSION.search(text)
    return match[1] if match else None

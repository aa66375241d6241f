"""Keeps a site to what is its own.

Several people's sites share a host, each may write its own wp-config.php, and the worker may read
all of them. So what a site's files only point to, by a link or a setting, must be the site's own:
otherwise a site's owner could have another one's files or database put into the own backup.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError

_LOCAL_HOSTS = frozenset(("", "localhost"))


def belongs_to_site(resolved: Path, site: Path) -> bool:
    """Tell whether a resolved path lies in the site's folder, or has the same owner as it.

    A configuration or content outside of the folder is usual; another owner's is not.
    """
    if resolved.is_relative_to(site):
        return True
    try:
        return resolved.stat().st_uid == site.stat().st_uid
    except OSError:
        return False


def refuse_own_account(spec: DatabaseSpec) -> None:
    """Raise a permanent `EngineError` where the server would let the worker in as itself.

    Over a socket, a server may ask the operating system who is there instead of for a password.
    A site that names the worker's own account would then read whatever that account may.
    """
    is_local = bool(spec.socket) or spec.host in _LOCAL_HOSTS
    if is_local and spec.user == pwd.getpwuid(os.geteuid()).pw_name:
        raise EngineError(
            f"wp-config.php names the database user {spec.user}, which is the worker's own account",
            hint="Give the site a database user of its own, or set its database by hand.",
            permanent=True,
            code="credentials_unusable",
        )

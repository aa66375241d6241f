"""What is written about sites: adding, changing and removing what is backed up."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, transaction

from backups.actions.followups import close_tasks_of
from backups.actions.jobs import give_up_kept_work
from backups.actions.replanning import replan
from backups.errors import InUseError, InvalidFieldError, SiteExistsError
from backups.models import BackupStatus, Node, Site
from backups.registry import FILE_ENGINES
from backups.states import ACTIVE

# What a job reads: it must not change under a running one.
SOURCE_FIELDS = frozenset(
    {
        "node",
        "wp_path",
        "wp_config_path",
        "db_engine",
        "db_name",
        "db_host",
        "db_port",
        "db_user",
        "db_password",
        "excludes",
    }
)

# What a site's own admins may change: nothing that leads to other files or another database.
OWN_FIELDS = frozenset({"name", "url", "excludes"})


def create_site(*, node: Node, **fields: Any) -> Site:  # noqa: ANN401
    """Add a site on a node; its paths must lie below the node's allowed roots.

    Raises `InvalidFieldError` for a path outside, `SiteExistsError` for a folder that is a site of
    the node already, Django's `ValidationError` for anything else that cannot be.
    """
    site = Site(node=node, **fields)
    with transaction.atomic():
        # Whoever adds a site to this node waits here, so no folder is added twice.
        Node.objects.select_for_update().get(pk=node.pk)
        _check(site)
        site.save()
    return site


def change_site(*, site: Site, **changes: Any) -> Site:  # noqa: ANN401
    """Change a site. Raises as `create_site`, and `InUseError` for its source during a job.

    Work of a failed job that came from another source is given up: no retry may go on with it.
    """
    if "wp_path" in changes:
        changes["wp_path"] = str(PurePosixPath(changes["wp_path"]))
    with transaction.atomic():
        # The row's lock also holds back the start of a job, which refers to it.
        locked = Site.objects.select_for_update().get(pk=site.pk)
        changed = {name for name, value in changes.items() if getattr(locked, name) != value}
        if changed & SOURCE_FIELDS and locked.jobs.filter(state__in=ACTIVE).exists():
            names = ", ".join(sorted(changed & SOURCE_FIELDS))
            raise InUseError(f"A backup of {locked.name} is running: {names} cannot change now.")
        for name, value in changes.items():
            setattr(locked, name, value)
        if changed & {"node", "wp_path"}:
            Node.objects.select_for_update().get(pk=locked.node_id)
        _check(locked)
        locked.save()
        if changed & SOURCE_FIELDS:
            give_up_kept_work(locked)
        if "node" in changed:
            # Another node has other blackouts.
            replan(Site.objects.filter(pk=locked.pk))
    return locked


def delete_site(*, site: Site) -> None:
    """Forget a site and its jobs; raises `InUseError` while it is backed up or backups are kept.

    The files and the database of the site are not touched.
    """
    with transaction.atomic():
        locked = Site.objects.select_for_update().get(pk=site.pk)
        if locked.jobs.filter(state__in=ACTIVE).exists():
            raise InUseError(f"A backup of {locked.name} is running; wait for it first.")
        kept = locked.backups.filter(status=BackupStatus.SUCCESS).count()
        if kept:
            raise InUseError(f"{locked.name} has {kept} backups; delete them first.")
        locked.backups.all().delete()
        # No backup of it will ever complete.
        close_tasks_of(locked.pk)
        locked.delete()


def add_inspected_site(
    *, node: Node, inspection: dict[str, Any], site_uuid: uuid.UUID, name: str = ""
) -> Site:
    """Add the site that the node found in a folder; the same `site_uuid` adds it once only.

    `db_engine` stays empty: the node reads wp-config.php again at every backup, so that a new
    password there needs no change here. Raises as `create_site`.
    """
    if (added := Site.objects.filter(uuid=site_uuid).first()) is not None:
        return added
    try:
        return create_site(
            node=node,
            uuid=site_uuid,
            name=name or usable_name(inspection["name"]),
            url=_usable_url(inspection.get("url") or ""),
            wp_path=inspection["path"],
            wp_config_path=inspection.get("wp_config_path") or "",
            db_name=inspection.get("db_name") or "",
        )
    except (IntegrityError, SiteExistsError):
        if (added := Site.objects.filter(uuid=site_uuid).first()) is not None:
            return added
        raise


def usable_name(name: str) -> str:
    """Return the nearest name that a site may have: keys and file names are made of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:190] or "site"


def require_below(path: str, roots: Sequence[str], *, field: str, node: Node) -> None:
    """Raise `InvalidFieldError` unless the path lies in or below one of the node's roots.

    By the letters only: links are followed on the node, which checks again.
    """
    wanted = PurePosixPath(path)
    is_plain = wanted.is_absolute() and ".." not in wanted.parts and "\0" not in path
    if not is_plain or not any(wanted.is_relative_to(PurePosixPath(root)) for root in roots):
        listed = ", ".join(roots) or "none yet"
        raise InvalidFieldError(
            field, f"{path} lies outside the folders that {node} may read ({listed})."
        )


def _check(site: Site) -> None:
    roots = site.node.allowed_roots
    require_below(site.wp_path, roots, field="wp_path", node=site.node)
    # The configuration may lie one folder above the site, but never outside the roots either.
    if site.wp_config_path:
        require_below(site.wp_config_path, roots, field="wp_config_path", node=site.node)
    if site.db_engine in FILE_ENGINES:
        require_below(site.db_name, roots, field="db_name", node=site.node)
    site.wp_path = str(PurePosixPath(site.wp_path))
    site.full_clean(exclude=["uuid"])
    same = Site.objects.filter(node=site.node, wp_path=site.wp_path).exclude(pk=site.pk).first()
    if same is not None:
        raise SiteExistsError(f"{site.wp_path} on {site.node} is the site {same.name} already.")


def _usable_url(url: str) -> str:
    try:
        URLValidator(schemes=["http", "https"])(url)
    except ValidationError:
        return ""
    return url if len(url) <= 500 else ""

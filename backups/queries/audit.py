"""What an entry of the audit trail says of the thing that something was done to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet

from backups.models import Backup, Job, Node, Site, Storage


@dataclass(frozen=True, slots=True)
class AuditedObject:
    """A thing, as it was called; `site_id` and `node_id` say where it belongs."""

    type: str = ""
    id: str = ""
    label: str = ""
    site_id: int | None = None
    node_id: int | None = None


def _users() -> QuerySet[Any]:
    return get_user_model()._default_manager.all()


# What each is called, and where its site and its node stand.
_COLUMNS: dict[str, tuple[Callable[[], QuerySet[Any]], dict[str, F]]] = {
    "site": (Site.objects.all, {"label": F("name"), "site": F("pk"), "where": F("node_id")}),
    "node": (Node.objects.all, {"label": F("name"), "where": F("pk")}),
    "job": (
        Job.objects.all,
        {"label": F("site__name"), "site": F("site_id"), "where": F("node_id")},
    ),
    "backup": (
        Backup.objects.all,
        {"label": F("site__name"), "site": F("site_id"), "where": F("site__node_id")},
    ),
    "storage": (Storage.objects.all, {"label": F("name")}),
    "user": (_users, {"label": F("email")}),
}


def audited_object(kind: str, key: str | int | UUID) -> AuditedObject:
    """Return what is known of it, in one query; the kind and key alone if it is not there."""
    return audited_objects(kind, [str(key)])[0]


def audited_objects(kind: str, keys: Sequence[str]) -> list[AuditedObject]:
    """Return the same of several, in their order, in one query."""
    usable = [key for key in keys if _may_be_a_key(kind, key)]
    if kind not in _COLUMNS or not usable:
        return [AuditedObject(kind, key) for key in keys]
    rows, columns = _COLUMNS[kind]
    names = {f"_{name}": column for name, column in columns.items()}
    found = {str(row["pk"]): row for row in rows().filter(pk__in=usable).values("pk", **names)}
    return [
        AuditedObject(kind, key, str(row["_label"]), row.get("_site"), row.get("_where"))
        if (row := found.get(key))
        else AuditedObject(kind, key)
        for key in keys
    ]


def _may_be_a_key(kind: str, key: str) -> bool:
    if kind == "job":
        try:
            UUID(key)
        except ValueError:
            return False
        return True
    return key.isascii() and key.isdigit() and int(key[:20]) < 2**63

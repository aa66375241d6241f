"""Writes the audit trail: one entry at a time, each in a statement of its own.

No library does this: those for Django (django-auditlog, django-easyaudit) listen to the signals of
`save()`, but our writes are conditional UPDATEs, and a refused attempt changes no row at all.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError
from django.db.models import CharField
from django.db.models.functions import Now

from backups import log_context
from backups.actions.storable import storable
from backups.models import AuditEntry, AuditOutcome, AuditSource
from backups.queries import AuditedObject

logger = logging.getLogger("holdfast.audit")

BATCH_ROWS, MOST_BATCHES = 1000, 100
MOST_FIELDS, FIELD_CHARACTERS = 50, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What happened. Texts may be as long as they like: they are cut to what a row holds."""

    action: str
    source: AuditSource
    outcome: AuditOutcome
    what: AuditedObject = field(default_factory=AuditedObject)
    actor_id: int | None = None
    actor_name: str = ""
    actor_role: str = ""
    address: str | None = None
    user_agent: str = ""
    status_code: int | None = None
    detail: str = ""
    fields: tuple[str, ...] = ()


def record_entry(fact: Fact) -> None:
    """Write the entry down, and say it to the log. Never raises: what was done has been done."""
    values = _values(fact)
    say(values)
    try:
        try:
            AuditEntry.objects.create(**values)
        except IntegrityError:
            # Whoever removed their own account is known by name only.
            AuditEntry.objects.create(**{**values, "actor_id": None})
    except (DatabaseError, InterfaceError) as error:
        logger.error("this entry is in no database: %s: %s", _as_text(values), error, extra=values)


def say_only(fact: Fact) -> None:
    """Say the entry to the log without keeping it."""
    say(_values(fact))


def say(values: dict[str, Any]) -> None:
    """Log one line with all that an entry holds."""
    line = "{outcome} {action} by {actor_name!r} on {object_type} {object_label!r}"
    facts = {f"audit_{name}": value for name, value in values.items() if value not in ("", None)}
    logger.info("%s", line.format(**values), extra=facts)


def remove_old_entries() -> int:
    """Remove what is older than the retention, in batches; the only way in which entries go."""
    days = settings.HOLDFAST_AUDIT_DAYS
    if not days:
        return 0
    # Past the manager that refuses it.
    rows = AuditEntry._base_manager.filter(created_at__lt=Now() - timedelta(days=days))
    removed = 0
    for _ in range(MOST_BATCHES):
        # MySQL deletes by no subquery that has a limit.
        keys = list(rows.order_by("created_at").values_list("pk", flat=True)[:BATCH_ROWS])
        if keys:
            removed += AuditEntry._base_manager.filter(pk__in=keys)._raw_delete(rows.db)
        if len(keys) < BATCH_ROWS:
            break
    return removed


def _values(fact: Fact) -> dict[str, Any]:
    what = fact.what
    texts = {
        "actor_name": fact.actor_name,
        "actor_role": fact.actor_role,
        "action": fact.action,
        "object_type": what.type,
        "object_id": what.id,
        "object_label": what.label,
        "user_agent": fact.user_agent,
        "request_id": log_context.request_id() or "",
        "detail": fact.detail,
    }
    names = [storable(name)[:FIELD_CHARACTERS] for name in fact.fields[:MOST_FIELDS]]
    return {
        **{name: _cut(name, text) for name, text in texts.items()},
        "source": fact.source.value,
        "outcome": fact.outcome.value,
        "actor_id": fact.actor_id,
        "site_id": what.site_id,
        "node_id": what.node_id,
        "address": _address(fact.address),
        "status_code": fact.status_code,
        "fields": names,
    }


def _cut(name: str, text: str) -> str:
    column = AuditEntry._meta.get_field(name)
    assert isinstance(column, CharField)
    return str(storable(text))[: column.max_length]


def _address(text: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None


def _as_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if value)

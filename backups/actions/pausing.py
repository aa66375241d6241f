"""Sites and nodes that start no backup by themselves for a while, and go on."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from django.db.models.functions import Now
from django.utils import timezone

from backups.errors import InvalidFieldError
from backups.models.pausing import Pausable

Row = TypeVar("Row", bound=Pausable)
LONGEST_REASON, LONGEST_NAME = 200, 190


def pause(*, row: Row, by: str, reason: str = "", until: datetime | None = None) -> Row:
    """Start no backup of the site, or on the node, by itself, until then or until it is resumed.

    Who pauses it anew changes until when, and why. Backups that run go on, and whoever starts one
    by hand gets it. Raises `InvalidFieldError` for a moment that has passed.
    """
    if until is not None and until <= timezone.now():
        raise InvalidFieldError("paused_until", "Give a moment in the future, or none.")
    if len(reason) > LONGEST_REASON:
        raise InvalidFieldError("reason", f"Say it in {LONGEST_REASON} characters.")
    _write(
        row, is_paused=True, paused_until=until, paused_at=Now(), paused_by=by[:LONGEST_NAME],
        pause_reason=reason,
    )  # fmt: skip
    return row


def resume(*, row: Row) -> Row:
    """Let backups start by themselves again. Of what was missed meanwhile, one run is made up for.

    That one is due already: the coordinator starts it within seconds.
    """
    _write(
        row, is_paused=False, paused_until=None, paused_at=None, paused_by="", pause_reason=""
    )  # fmt: skip
    return row


def _write(row: Pausable, **values: object) -> None:
    type(row)._default_manager.filter(pk=row.pk).update(**values)
    row.refresh_from_db(fields=list(values))

"""Who acts when several copies of a process run: whoever holds the row, until it is not renewed."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from backups.actions.transitions import seconds_from_now
from backups.models import Leadership


def lead(*, name: str, holder: str, seconds: float) -> bool:
    """Take or renew the leadership for `seconds`; False while somebody else holds it.

    By the database's clock and one conditional UPDATE, so two can never hold it at once.
    """
    taken = (
        Leadership.objects.filter(pk=name)
        .filter(Q(holder=holder) | Q(expires_at__lt=Now()))
        .update(holder=holder, expires_at=seconds_from_now(seconds))
    )
    if taken:
        return True
    try:
        with transaction.atomic():
            if Leadership.objects.filter(pk=name).exists():
                return False
            Leadership.objects.create(
                name=name, holder=holder, expires_at=seconds_from_now(seconds)
            )
    except IntegrityError:
        return False  # the other one was quicker
    return True


def resign(*, name: str, holder: str) -> None:
    """Let another copy take over at once."""
    Leadership.objects.filter(pk=name, holder=holder).delete()

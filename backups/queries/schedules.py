"""Which sites a backup is due of."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.models import Site


def sites_due() -> QuerySet[Any]:
    """Return the sites whose next run has come, the most overdue first, with the database's `now`.

    By the database's clock; secrets stay unread.
    """
    due = Site.objects.filter(next_run_at__lte=Now()).order_by("next_run_at", "pk")
    return due.select_related("node").defer("db_password").annotate(now=Now())

"""What a site's retention is."""

from __future__ import annotations

from django.db.models.functions import Now

from backups.models import Site

# Rules as the API names them → columns.
COLUMNS = {
    "keep_last": "retention_copies",
    "daily": "retention_daily",
    "weekly": "retention_weekly",
    "monthly": "retention_monthly",
    "yearly": "retention_yearly",
}


def set_retention(*, site: Site, **rules: int | None) -> Site:
    """Change the site's own rules; None leaves one to its node. It is soon looked at what goes."""
    changes = {COLUMNS[rule]: value for rule, value in rules.items()}
    Site.objects.filter(pk=site.pk).update(retention_due_at=Now(), **changes)
    return Site.objects.select_related("node").defer("db_password").get(pk=site.pk)

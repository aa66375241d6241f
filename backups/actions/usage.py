"""What a site's good backups take: kept on its row, in the transaction that changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from backups.models import Backup, BackupStatus, Site


@contextmanager
def usage_kept(site_id: int) -> Iterator[None]:
    """Let the block add or remove backups of the site, and count them anew at its end.

    Whoever else does so waits at the site's row until this transaction is over, and counts in a
    statement that begins after that: so nobody overwrites a count with an older one. Counting
    again, instead of adding, also mends whatever was wrong.
    """
    with transaction.atomic():
        list(Site.objects.select_for_update().filter(pk=site_id).values_list("pk"))
        yield
        count_usage(Site.objects.filter(pk=site_id))


def count_usage(sites: QuerySet[Site]) -> None:
    """Write what the good backups of these sites take to their rows."""
    good = Backup.objects.filter(site=OuterRef("pk"), status=BackupStatus.SUCCESS)
    by_site = good.order_by().values("site")
    sites.update(
        backup_count=Coalesce(Subquery(by_site.annotate(n=Count("pk")).values("n")), 0),
        last_backup=Subquery(by_site.annotate(at=Max("created_at")).values("at")),
        storage_used_bytes=Coalesce(Subquery(by_site.annotate(n=Sum("size_bytes")).values("n")), 0),
    )

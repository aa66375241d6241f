"""What a site's good backups take: kept on its row, in the transaction that changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Now

from backups.models import Backup, BackupStatus, Site
from backups.retention import CLOCKS_APART


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
    """Write what the good backups of these sites take to their rows.

    One whose object is not as it was recorded protects nobody. Nor does one of a clock that was
    ahead: a site would look protected until that time comes.
    """
    good = Backup.objects.filter(site=OuterRef("pk"), status=BackupStatus.SUCCESS)
    by_site = good.order_by().values("site")
    amiss = by_site.exclude(check_problem="")
    usable = by_site.filter(check_problem="", created_at__lte=Now() + CLOCKS_APART)
    sites.update(
        backup_count=Coalesce(Subquery(by_site.annotate(n=Count("pk")).values("n")), 0),
        backups_amiss=Coalesce(Subquery(amiss.annotate(n=Count("pk")).values("n")), 0),
        last_backup=Subquery(usable.annotate(at=Max("created_at")).values("at")),
        storage_used_bytes=Coalesce(Subquery(by_site.annotate(n=Sum("size_bytes")).values("n")), 0),
    )

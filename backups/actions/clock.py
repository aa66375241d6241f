"""What a clock leaves behind that was far ahead and was set right: things due in years.

The database's clock decides what is due. While it is ahead all of that is done once, and put off by
the wrong time; after that nothing would be done until then.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now

from backups import queries
from backups.actions.errands import LONGEST_PAUSE
from backups.actions.replanning import next_run_columns
from backups.models import Backup, Errand, Site
from backups.schedule import LONGEST_GAPS

logger = logging.getLogger(__name__)

# On top of what can be right, a day's spread counted in.
SLACK = timedelta(days=2)
SITES_AT_ONCE = 500


def mend_what_is_due_too_late() -> int:
    """Bring forward what is later than it can be; return how many sites come sooner by it.

    Only what is put off again and again: nothing else has such a bound.
    """
    late = Now() + timedelta(seconds=LONGEST_PAUSE) + SLACK
    Site.objects.filter(retention_due_at__gt=late).update(retention_due_at=Now())
    Errand.objects.filter(not_before__gt=late).update(not_before=None)
    Backup.objects.filter(checked_at__gt=Now() + SLACK).update(checked_at=None)
    Site.objects.filter(schedule_retry_at__gt=Now() + SLACK).update(schedule_retry_at=None)
    sites = Site.objects.filter(_is_too_late()).select_related("node").defer("db_password")
    return sum(_bring_forward(site) for site in sites.annotate(now=Now())[:SITES_AT_ONCE])


def _is_too_late() -> Q:
    kept = Q(schedule_longest_gap__isnull=False)
    late = kept & Q(next_run_at__gt=Now() + SLACK + F("schedule_longest_gap"))
    for frequency, gap in LONGEST_GAPS.items():
        of_frequency = Q(schedule_longest_gap__isnull=True, schedule_frequency=frequency)
        late |= of_frequency & Q(next_run_at__gt=Now() + SLACK + gap)
    return late


def _bring_forward(site: Any) -> bool:  # noqa: ANN401
    try:
        run = queries.plan_of(site).next_run(after=site.now)
    except ValueError:
        return False  # said when its run is due
    same = Site.objects.filter(pk=site.pk, next_run_at=site.next_run_at)
    if run is None or run.start >= site.next_run_at or not same.update(**next_run_columns(run)):
        return False
    words = "the next run of %s was only due at %s; a clock must have been ahead: now at %s"
    logger.warning(words, site.name, site.next_run_at, run.start)
    return True

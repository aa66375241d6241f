"""Which sites are protected, at risk and failing; which failures still stand."""

from __future__ import annotations

from typing import Any

from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Now

from backups.models import Job
from backups.protection import GRACE, LONGEST_AGE, Protection
from backups.queries.standing import backup_jobs
from backups.states import JobState

# Stopped jobs say nothing about how the site can be backed up.
_ENDED = (JobState.COMPLETED, JobState.FAILED)


def sites_with_protection(sites: QuerySet[Any]) -> QuerySet[Any]:
    """Add `protection`, one of `Protection`, to sites; by the database's clock.

    A failure counts until a later backup completes, or somebody resets it.

    One look into an index for each site: that holds all that is asked of the site's newest ended
    job, so that no job's row is read. With 10,000 sites it is the difference between 25 and 85 ms.
    """
    ended = backup_jobs().filter(site=OuterRef("pk"), state__in=_ENDED)
    newest = ended.order_by("-queued_at")
    stands = Case(
        When(state=JobState.FAILED, reset_at__isnull=True, then=Value(1)),
        default=Value(0),
        output_field=IntegerField(),
    )
    oldest = Now() - F("schedule_longest_gap") - GRACE
    recent = Q(schedule_longest_gap__isnull=False, last_backup__gte=oldest)
    for frequency, age in LONGEST_AGE.items():
        recent |= Q(
            schedule_longest_gap__isnull=True,
            schedule_frequency=frequency,
            last_backup__gte=Now() - age,
        )
    shown: QuerySet[Any] = sites.alias(
        failure_stands=Subquery(newest.values(stands=stands)[:1])
    ).annotate(
        protection=Case(
            When(failure_stands=1, then=_word("FAILING")),
            When(recent, then=_word("PROTECTED")),
            default=_word("AT_RISK"),
        )
    )
    return shown


def protection_counts(sites: QuerySet[Any]) -> dict[str, int]:
    """Return how many of the sites are protected, at risk and failing."""
    shown = sites_with_protection(sites).order_by().values("protection")
    found = {row["protection"]: row["number"] for row in shown.annotate(number=Count("pk"))}
    return {word.value: found.get(word.value, 0) for word in Protection}


def standing_failures(jobs: QuerySet[Job]) -> QuerySet[Any]:
    """Return those of the jobs that failed and were not followed by another end, newest first.

    `is_tried_again` says whether a job of the same site is active now.
    """
    later = Job.objects.filter(
        site=OuterRef("site"),
        kind=OuterRef("kind"),
        state__in=_ENDED,
        queued_at__gt=OuterRef("queued_at"),
    )
    failed = jobs.filter(~Exists(later), state=JobState.FAILED, reset_at__isnull=True)
    now_active = Exists(Job.objects.filter(active_site=OuterRef("site")))
    return failed.annotate(is_tried_again=now_active).order_by("-queued_at", "-pk")


def _word(name: str) -> Value:
    return Value(Protection[name].value)

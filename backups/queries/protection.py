"""Which sites are protected, at risk and failing; which failures still stand."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Now

from backups.models import Job
from backups.protection import LONGEST_AGE, Protection
from backups.states import JobState

# Stopped jobs say nothing about how the site can be backed up.
_ENDED = (JobState.COMPLETED, JobState.FAILED)


def sites_with_protection(sites: QuerySet[Any]) -> QuerySet[Any]:
    """Add `protection`, one of `Protection`, to sites; by the database's clock.

    A failure counts until a later backup completes, or somebody resets it.
    """
    newest = Job.objects.filter(site=OuterRef("pk"), state__in=_ENDED).order_by("-queued_at")
    failing = Job.objects.filter(state=JobState.FAILED, reset_at__isnull=True)
    recent = Q()
    for frequency, age in LONGEST_AGE.items():
        recent |= Q(schedule_frequency=frequency, last_backup__gte=Now() - age)
    shown: QuerySet[Any] = sites.annotate(newest_ended=Subquery(newest.values("pk")[:1])).annotate(
        protection=Case(
            When(Exists(failing.filter(pk=OuterRef("newest_ended"))), then=_word("FAILING")),
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
        site=OuterRef("site"), state__in=_ENDED, queued_at__gt=OuterRef("queued_at")
    )
    failed = jobs.filter(~Exists(later), state=JobState.FAILED, reset_at__isnull=True)
    now_active = Exists(Job.objects.filter(active_site=OuterRef("site")))
    return failed.annotate(is_tried_again=now_active).order_by("-queued_at", "-pk")


def _word(name: str) -> Value:
    return Value(Protection[name].value)

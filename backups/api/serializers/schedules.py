"""Schedules, pauses and what comes next, on the wire."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from backups.actions.pausing import LONGEST_REASON
from backups.api.serializers.strict import StrictSerializer
from backups.models import Site
from backups.models.node import MAX_WINDOW_MINUTES
from backups.queries import why_waiting
from backups.schedule import ScheduleFrequency
from backups.schedule.cron import LONGEST_EXPRESSION


class ScheduleSerializer(StrictSerializer):
    """When a site is backed up by itself. What is left out stays as it is."""

    schedule_frequency = serializers.ChoiceField(choices=ScheduleFrequency.choices)
    schedule_time = serializers.CharField(
        required=False, max_length=20, help_text="HH:MM of the 24-hour clock, in the time zone."
    )
    schedule_days = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text="As 0,2,4. Weekly: 0 (Monday) to 6 (Sunday). Monthly: 1 to 31; a day that a "
        "month lacks is its last one. Others have none: it is stored empty.",
    )
    schedule_cron = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=LONGEST_EXPRESSION,
        help_text="For `cron`: minute, hour, day of the month, month, weekday (0 and 7 are Sunday),"
        " as 30 2 * * 1-5. Others have none: it is stored empty.",
    )
    time_zone = serializers.CharField(
        required=False, max_length=64, help_text="An IANA name as Europe/Berlin; UTC at first."
    )
    schedule_window_minutes = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=MAX_WINDOW_MINUTES,
        help_text="Within how many minutes of its time it starts, always at the same one; 0 starts "
        "on time, null takes the node's.",
    )
    retention_copies = serializers.IntegerField(
        required=False, min_value=1, max_value=10_000, help_text="How many backups are to be kept."
    )


class PauseSerializer(StrictSerializer):
    """Until when, and why; both may be left out."""

    until = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Null is until somebody resumes it."
    )
    reason = serializers.CharField(required=False, allow_blank=True, max_length=LONGEST_REASON)


class PausedBody(serializers.Serializer[Any]):
    """Whether something is paused, and by whom."""

    is_paused = serializers.BooleanField()
    paused_until = serializers.DateTimeField(allow_null=True)
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField()
    pause_reason = serializers.CharField()


class SiteScheduleBody(PausedBody):
    """A site's schedule and what comes of it."""

    site_id = serializers.IntegerField()
    site_name = serializers.CharField()
    schedule_frequency = serializers.ChoiceField(choices=ScheduleFrequency.choices)
    schedule_time = serializers.CharField()
    schedule_days = serializers.CharField()
    schedule_cron = serializers.CharField()
    time_zone = serializers.CharField()
    schedule_window_minutes = serializers.IntegerField(allow_null=True)
    retention_copies = serializers.IntegerField()
    words = serializers.CharField(help_text="The schedule in a sentence.")
    window_minutes = serializers.IntegerField(help_text="What counts: the site's, or its node's.")
    spread_seconds = serializers.IntegerField(help_text="How long after its time it starts.")
    next_run_at = serializers.DateTimeField(allow_null=True)
    next_runs = serializers.ListField(
        child=serializers.DateTimeField(), help_text="Spread and blackouts are counted in."
    )
    is_due = serializers.BooleanField(help_text="Whether the next run waits to be started.")
    node_is_paused = serializers.BooleanField()
    not_running_because = serializers.CharField(allow_null=True)
    note = serializers.CharField(
        allow_null=True, help_text="What became of a run that was refused; null after a start."
    )
    blackouts = serializers.JSONField(help_text="Those of the node.")
    blackout_time_zone = serializers.CharField()


class UpcomingRun(serializers.ModelSerializer[Site]):
    """The next run of a site."""

    site_id = serializers.IntegerField(source="pk")
    site_name = serializers.CharField(source="name")
    is_due = serializers.SerializerMethodField()
    not_running_because = serializers.SerializerMethodField()

    class Meta:
        model = Site
        fields = ["site_id", "site_name", "next_run_at", "schedule_frequency", "time_zone",
                  "is_due", "not_running_because"]  # fmt: skip

    def get_is_due(self, site: Site) -> bool:
        """Return whether it waits to be started."""
        return site.next_run_at is not None and site.next_run_at <= timezone.now()

    def get_not_running_because(self, site: Site) -> str | None:
        """Return what holds it up."""
        return why_waiting(site, timezone.now())


class NodePauseBody(PausedBody):
    """A node whose schedules are paused, or go on."""

    node_id = serializers.IntegerField(source="pk")
    node_name = serializers.CharField(source="name")

"""Retention on the wire: a site's rules, what they keep and what goes, and pins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.conf import settings
from rest_framework import serializers

from backups.actions.pins import MOST_CHARACTERS
from backups.api.serializers.common import gibibytes
from backups.api.serializers.strict import StrictSerializer
from backups.models import Errand, Site
from backups.models.rules import MOST_COPIES
from backups.queries.retention import Judged, RetentionPlan, bytes_of
from backups.retention import Policy


def _rule(words: str, least: int = 0) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=least,
        max_value=MOST_COPIES,
        help_text=f"{words} Null leaves it to the node, then to the settings.",
    )


class RulesSerializer(StrictSerializer):
    """A site's own rules. What is left out stays as it is."""

    keep_last = _rule("How many of the newest backups are kept.", 1)
    daily = _rule("Of how many days with backups the newest one is kept.")
    weekly = _rule("The same for weeks, from Monday to Sunday.")
    monthly = _rule("The same for months.")
    yearly = _rule("The same for years.")

    def policy(self, before: Policy) -> Policy:
        """Return the policy that comes of it."""
        given = {rule: value for rule, value in self.validated_data.items() if value is not None}
        return Policy(**{**asdict(before), **given})


class PinSerializer(StrictSerializer):
    """Why a backup is kept."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=MOST_CHARACTERS)


class RulesBody(serializers.Serializer[Any]):
    """Rules; null is left to the level above."""

    keep_last = serializers.IntegerField(allow_null=True)
    daily = serializers.IntegerField(allow_null=True)
    weekly = serializers.IntegerField(allow_null=True)
    monthly = serializers.IntegerField(allow_null=True)
    yearly = serializers.IntegerField(allow_null=True)


class OriginsBody(serializers.Serializer[Any]):
    """Where each rule comes from: `site`, `node` or `default`."""

    keep_last = serializers.CharField()
    daily = serializers.CharField()
    weekly = serializers.CharField()
    monthly = serializers.CharField()
    yearly = serializers.CharField()


class JudgedBody(serializers.Serializer[Any]):
    """A backup, and every reason why it stays or goes."""

    backup_id = serializers.IntegerField()
    filename = serializers.CharField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()
    size_bytes = serializers.IntegerField()
    removing_since = serializers.DateTimeField(allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField())


class LastRunBody(serializers.Serializer[Any]):
    """How the last removal went; `error` says why nothing was removed, and is empty if it was."""

    done_at = serializers.DateTimeField(allow_null=True)
    removed = serializers.IntegerField()
    is_running = serializers.BooleanField()
    failures = serializers.IntegerField(help_text="In a row; each makes the next pause longer.")
    error = serializers.CharField()


class RetentionBody(serializers.Serializer[Any]):
    """A site's retention: the policy in effect, and what it keeps and removes now."""

    site_id = serializers.IntegerField()
    is_applied = serializers.BooleanField(help_text="False where HOLDFAST_RETENTION is off.")
    time_zone = serializers.CharField()
    policy = RulesBody()
    origins = OriginsBody()
    own = RulesBody()
    keep = JudgedBody(many=True)
    remove = JudgedBody(many=True)
    remove_bytes = serializers.IntegerField()
    remove_gb = serializers.FloatField()
    next_at = serializers.DateTimeField(allow_null=True, help_text="When it is looked at again.")
    last_run = LastRunBody(allow_null=True)


def retention_body(site: Site, plan: RetentionPlan, errand: Errand | None) -> dict[str, Any]:
    """Return the preview as it is sent."""
    freed = bytes_of(plan.going)
    return dict(
        RetentionBody(
            {
                "site_id": site.pk,
                "is_applied": settings.HOLDFAST_RETENTION,
                "time_zone": str(plan.zone),
                "policy": asdict(plan.policy),
                "origins": plan.origins,
                "own": asdict(site.own_policy),
                "keep": [_judged(one) for one in plan.kept],
                "remove": [_judged(one) for one in plan.going],
                "remove_bytes": freed,
                "remove_gb": gibibytes(freed),
                "next_at": site.retention_due_at,
                "last_run": _last_run(errand) if errand else None,
            }
        ).data
    )


def _judged(one: Judged) -> dict[str, Any]:
    backup = one.backup
    return {
        "backup_id": backup.pk,
        "filename": backup.filename,
        "status": backup.status,
        "created_at": backup.created_at,
        "size_bytes": backup.size_bytes,
        "removing_since": backup.removing_since,
        "reasons": list(one.decision.reasons),
    }


def _last_run(errand: Errand) -> dict[str, Any]:
    return {
        "done_at": errand.done_at,
        "removed": errand.done_count,
        "is_running": errand.task_id is not None,
        "failures": errand.failures,
        "error": errand.error,
    }

"""Sites on the wire."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from backups.actions import sites
from backups.api.access import VisibleKeyField
from backups.api.serializers.common import LARGEST_KEY, gibibytes
from backups.api.serializers.strict import StrictModelSerializer, StrictSerializer
from backups.models import Site
from backups.queries import is_paused, nodes_visible_to, sites_with_usage, storages_visible_to
from backups.queries.retention import effective_policy
from backups.states import OUTSIDE, JobState


class SiteSerializer(StrictModelSerializer[Site]):
    """A site. `status` is that of its newest job; sizes are those of its good backups."""

    node_id = VisibleKeyField(source="node", visible_to=nodes_visible_to)
    storage_id = VisibleKeyField(
        source="storage",
        visible_to=storages_visible_to,
        required=False,
        allow_null=True,
        help_text="Where bundles go; empty takes the default storage.",
    )
    status = serializers.SerializerMethodField()
    is_paused = serializers.SerializerMethodField()
    last_backup = serializers.DateTimeField(read_only=True, allow_null=True)
    proven_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When a backup was last restored for trial."
    )
    restores_in_seconds = serializers.FloatField(
        source="proven_seconds", read_only=True, allow_null=True, help_text="As measured then."
    )
    backup_count = serializers.IntegerField(read_only=True)
    backups_amiss = serializers.IntegerField(
        read_only=True, help_text="Those of them whose objects are not as they were recorded."
    )
    storage_used_bytes = serializers.IntegerField(read_only=True)
    storage_used_gb = serializers.SerializerMethodField()
    db_password = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=1000,
        style={"input_type": "password"},
    )
    db_password_set = serializers.BooleanField(read_only=True)
    retention_copies = serializers.SerializerMethodField()
    excludes = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text='Patterns to leave out, as ["wp-content/cache/"]; null takes the defaults.',
    )

    class Meta:
        model = Site
        fields = [
            "id",
            "uuid",
            "name",
            "url",
            "wp_path",
            "wp_config_path",
            "node_id",
            "storage_id",
            "status",
            "created_at",
            "last_backup",
            "proven_at",
            "restores_in_seconds",
            "backup_count",
            "backups_amiss",
            "storage_used_bytes",
            "storage_used_gb",
            "storage_quota_gb",
            "schedule_frequency",
            "schedule_time",
            "schedule_days",
            "schedule_cron",
            "time_zone",
            "schedule_window_minutes",
            "retention_copies",
            "next_run_at",
            "is_paused",
            "paused_until",
            "db_engine",
            "db_name",
            "db_host",
            "db_port",
            "db_user",
            "db_password",
            "db_password_set",
            "excludes",
        ]
        # Schedules, retention and quotas have routes of their own.
        read_only_fields = [
            "storage_quota_gb",
            "schedule_frequency",
            "schedule_time",
            "schedule_days",
            "schedule_cron",
            "time_zone",
            "schedule_window_minutes",
            "retention_copies",
        ]

    def get_is_paused(self, site: Site) -> bool:
        """Return whether its schedule rests now."""
        return is_paused(site, timezone.now())

    def get_status(self, site: Any) -> str:  # noqa: ANN401
        """Return the newest job's state in the contract's words."""
        return OUTSIDE[JobState(site.newest_state)] if site.newest_state else "idle"

    def get_storage_used_gb(self, site: Any) -> float:  # noqa: ANN401
        """Return the size of the good backups."""
        return gibibytes(site.storage_used_bytes)

    def get_retention_copies(self, site: Site) -> int:
        """Return how many of the newest backups are kept, whoever says so."""
        policy, _ = effective_policy(site)
        return policy.keep_last or 0

    def create(self, validated_data: dict[str, Any]) -> Site:
        """Add the site."""
        return _with_usage(sites.create_site(**validated_data))

    def update(self, instance: Site, validated_data: dict[str, Any]) -> Site:
        """Change the site."""
        return _with_usage(sites.change_site(site=instance, **validated_data))


class ManualSiteSerializer(StrictSerializer):
    """A folder on a node that should become a site."""

    path = serializers.CharField(max_length=1000, trim_whitespace=False)
    wp_config_path = serializers.CharField(
        max_length=1000, required=False, allow_blank=True, trim_whitespace=False
    )
    node_id = serializers.IntegerField(
        required=False,
        allow_null=True,
        max_value=LARGEST_KEY,
        help_text="May be left out where there is only one.",
    )
    name = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z",
        required=False,
        allow_blank=True,
        max_length=190,
        help_text="Empty takes the folder's.",
    )


class ScanQuery(serializers.Serializer[Any]):
    """Where to look for sites."""

    node_id = serializers.IntegerField(required=False, max_value=LARGEST_KEY)
    base_path = serializers.CharField(required=False, max_length=1000, trim_whitespace=False)


class FoundSite(serializers.Serializer[Any]):
    """A WordPress site that a node found."""

    name = serializers.CharField()
    path = serializers.CharField()
    has_wp_config = serializers.BooleanField()
    has_wp_content = serializers.BooleanField()
    db_name = serializers.CharField(allow_null=True)
    is_complete = serializers.BooleanField()


class ScanBody(serializers.Serializer[Any]):
    """The sites that a node found; `problems` are sentences for a person."""

    success = serializers.BooleanField()
    node_id = serializers.IntegerField()
    sites = FoundSite(many=True)
    total = serializers.IntegerField()
    problems = serializers.ListField(child=serializers.CharField())


def _with_usage(site: Site) -> Site:
    return sites_with_usage(Site.objects.filter(pk=site.pk)).get()

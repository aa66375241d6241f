"""Follow-up tasks on the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from backups.actions import followups
from backups.api.access import require
from backups.api.serializers.strict import StrictModelSerializer
from backups.models import FollowUpTask, Job
from backups.models.followup import DESCRIPTION_LENGTH, TITLE_LENGTH
from backups.queries import jobs_visible_to

# Of a BigAutoField; SQLite fails on anything larger.
LARGEST_KEY = 2**63 - 1
LONGEST_PAGE = 500


class TaskSerializer(StrictModelSerializer[FollowUpTask]):
    """A line of a person's to-do list. The context names its `owner`."""

    user_id = serializers.IntegerField(read_only=True)
    title = serializers.CharField(max_length=TITLE_LENGTH)
    description = serializers.CharField(
        max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True, default=""
    )
    completed = serializers.BooleanField(
        source="is_completed",
        required=False,
        help_text="Left out, a new task is open and another stays as it is.",
    )
    due_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    job_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="A job that the task's owner may see.",
    )
    site_id = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="The site of the job."
    )
    is_automatic = serializers.BooleanField(
        read_only=True, help_text="A failed backup opened it; the next completed one closes it."
    )

    class Meta:
        model = FollowUpTask
        fields = [
            "id",
            "user_id",
            "title",
            "description",
            "completed",
            "completed_at",
            "due_at",
            "job_id",
            "site_id",
            "is_automatic",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["completed_at", "created_at", "updated_at"]

    def validate_job_id(self, job_id: UUID | None) -> UUID | None:
        """Accept a job that the owner may see, or the one that is there; else 403, or 400."""
        if job_id is None or (self.instance is not None and job_id == self.instance.job_id):
            return job_id
        if not jobs_visible_to(self.context["owner"]).filter(pk=job_id).exists():
            require(not Job.objects.filter(pk=job_id).exists(), "Not a job of the task's owner.")
            raise serializers.ValidationError("There is no such job.")
        return job_id

    def create(self, validated_data: dict[str, Any]) -> FollowUpTask:
        """Put the task on its owner's list."""
        return followups.add_task(user=self.context["owner"], **_values(validated_data))

    def update(self, instance: FollowUpTask, validated_data: dict[str, Any]) -> FollowUpTask:
        """Replace what the task says."""
        return followups.change_task(task=instance, **_values(validated_data))


class TaskQuery(serializers.Serializer[Any]):
    """Which tasks are wanted, and which part of them."""

    completed = serializers.BooleanField(required=False, allow_null=True, default=None)
    overdue = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Open, and their time has come."
    )
    job_id = serializers.UUIDField(required=False)
    site_id = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_KEY)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=LONGEST_PAGE)
    offset = serializers.IntegerField(required=False, min_value=0, max_value=2**31)


class TaskStatsBody(serializers.Serializer[Any]):
    """A person's tasks in numbers; those overdue are among those pending."""

    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    pending = serializers.IntegerField()
    overdue = serializers.IntegerField()
    completion_rate = serializers.FloatField(
        min_value=0, max_value=100, help_text="Percent, to one decimal; 0.0 without any task."
    )


def _values(validated: dict[str, Any]) -> dict[str, Any]:
    values = dict(validated)
    job_id = values.pop("job_id", None)
    values["job"] = None if job_id is None else Job.objects.filter(pk=job_id).first()
    if "is_completed" in values:
        values["completed"] = values.pop("is_completed")
    return values

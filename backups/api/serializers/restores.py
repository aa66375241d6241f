"""Restores on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.actions.restores import IN_PLACE, TARGETS, WHAT, what_of
from backups.api.serializers.jobs import StartedBody
from backups.api.serializers.strict import StrictSerializer
from backups.models import Proof

# More than these are chosen as folders, or as everything.
MOST_CHOSEN = 1000


def _chosen(of: str, length: int) -> Any:  # noqa: ANN401
    item = serializers.CharField(max_length=length, trim_whitespace=False)
    # An empty list would be a choice of nothing to some and of everything to others.
    return serializers.ListField(
        child=item,
        required=False,
        allow_empty=False,
        max_length=MOST_CHOSEN,
        error_messages={"empty": "This list is empty; leave it out to restore all of them."},
        help_text=f"{of}; all of them without it.",
    )


class RestoreBody(StrictSerializer):
    """What is to be restored, and where to."""

    backup_id = serializers.IntegerField()
    what = serializers.ChoiceField(
        choices=WHAT,
        required=False,
        help_text="Without it all, or only the files or the database if only some of these are "
        "chosen.",
    )
    paths = _chosen("Paths in the bundle, each with all below it", 4096)
    tables = _chosen("Names of tables", 256)
    target = serializers.ChoiceField(choices=TARGETS, default=IN_PLACE)
    target_path = serializers.CharField(
        required=False, max_length=1000, help_text="Of a copy: a folder that holds nothing yet."
    )
    target_database = serializers.CharField(
        required=False, max_length=1000, help_text="Of a copy: a database that holds nothing yet."
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Only say what would change, in the job's `plan`."
    )
    checkpoint = serializers.BooleanField(
        default=True,
        initial=True,
        help_text="In place: back up what is there first, so that it can be undone.",
    )
    rewrite_url = serializers.BooleanField(
        default=False,
        help_text="Change the address of the backup's site into this one's in the database.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Give lists as the domain takes them, and what is restored."""
        paths, tables = (tuple(attrs.get(name, ())) for name in ("paths", "tables"))
        return {"what": what_of(paths=paths, tables=tables), **attrs, "paths": paths,
                "tables": tables}  # fmt: skip


class RestoreStartedBody(StartedBody):
    """A restore has been recorded; it runs once its checkpoint is there."""

    checkpoint_job_id = serializers.UUIDField(allow_null=True)
    target_path = serializers.CharField(allow_null=True)
    target_database = serializers.CharField(allow_null=True)
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What to know before it is done."
    )


class ConfirmedBody(serializers.Serializer[Any]):
    """The checkpoint of a restore is no longer pinned."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    backup_id = serializers.IntegerField(help_text="The checkpoint's.")


class ProofSerializer(serializers.ModelSerializer[Proof]):
    """One trial restore; `seconds` is what the restore took, null if it did not come that far."""

    backup_id = serializers.IntegerField(read_only=True)
    job_id = serializers.UUIDField(read_only=True, allow_null=True)
    node = serializers.CharField(source="node.name", read_only=True)

    class Meta:
        model = Proof
        fields = [
            "id",
            "backup_id",
            "job_id",
            "node",
            "outcome",
            "seconds",
            "bytes_restored",
            "differences",
            "facts",
            "created_at",
        ]
        read_only_fields = fields

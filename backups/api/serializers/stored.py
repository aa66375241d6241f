"""Backups and storages on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups import registry
from backups.actions import storages
from backups.api.serializers.common import LARGEST_KEY, gibibytes
from backups.api.serializers.strict import Strict, StrictSerializer
from backups.models import Backup, Storage


class BackupSerializer(serializers.ModelSerializer[Backup]):
    """A backup. `s3_path` is where its bundle is, also when that is a folder."""

    site_id = serializers.IntegerField(read_only=True)
    site_name = serializers.CharField(source="site.name", read_only=True)
    filename = serializers.CharField(read_only=True)
    backup_type = serializers.ChoiceField(choices=["full", "incremental"], read_only=True)
    size_gb = serializers.SerializerMethodField()
    s3_path = serializers.SerializerMethodField()
    storage_provider = serializers.CharField(source="storage.name", read_only=True)
    storage_id = serializers.IntegerField(read_only=True)
    job_id = serializers.UUIDField(read_only=True, allow_null=True)
    encrypted_to = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Public keys of age whose secret keys open it; empty for a plain bundle.",
    )
    pinned_by = serializers.CharField(source="pinned_by.email", read_only=True, allow_null=True)

    class Meta:
        model = Backup
        fields = [
            "id",
            "site_id",
            "site_name",
            "filename",
            "size_bytes",
            "size_gb",
            "s3_path",
            "created_at",
            "backup_type",
            "status",
            "storage_provider",
            "storage_id",
            "sha256",
            "encrypted_to",
            "verified_by",
            "verified_at",
            "is_suspect",
            "job_id",
            "proven_at",
            "pinned_at",
            "pinned_by",
            "pin_note",
            "removing_since",
            "locked_until",
            "checked_at",
            "check_problem",
        ]
        read_only_fields = fields

    def get_size_gb(self, backup: Backup) -> float:
        """Return the size in GiB."""
        return gibibytes(backup.size_bytes)

    def get_s3_path(self, backup: Backup) -> str:
        """Return where the bundle is, empty if there is none."""
        if not backup.object_key:
            return ""
        storage = backup.storage
        return registry.address_of(storage.type, storage.config, backup.object_key)


class DownloadBody(serializers.Serializer[Any]):
    """Where a bundle can be fetched from, for a while."""

    backup_id = serializers.IntegerField()
    filename = serializers.CharField()
    s3_path = serializers.CharField()
    provider = serializers.CharField()
    download_url = serializers.CharField()
    expires_in_seconds = serializers.IntegerField()


class DeletedBody(serializers.Serializer[Any]):
    """What became of a backup and of its object."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    backup_id = serializers.IntegerField()
    remote_deleted = serializers.BooleanField()


class StorageBriefSerializer(serializers.ModelSerializer[Storage]):
    """What somebody needs who chooses a storage for a site."""

    status = serializers.SerializerMethodField()

    class Meta:
        model = Storage
        fields = ["id", "name", "type", "is_default", "status"]

    def get_status(self, storage: Storage) -> str:
        """Return `untested`, `usable` or `failed`, as the newest test found it."""
        if storage.tested_at is None:
            return "untested"
        return "failed" if storage.test_error else "usable"


class StorageSerializer(Strict, StorageBriefSerializer):
    """A storage. Secrets go in with `config` and never come out; `secrets_set` names those kept.

    On PUT a secret that `config` leaves out stays, and an empty one is removed. PATCH changes only
    the fields of `config` that it names.
    """

    type = serializers.ChoiceField(choices=registry.store_choices())
    config = serializers.JSONField(
        required=False,
        default=dict,
        help_text='Such as {"path": "/srv/backups"}; secrets are kept encrypted.',
    )
    secrets_set = serializers.SerializerMethodField()
    encryption_recipients = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        help_text="Public keys of age (age1…). New backups are encrypted to them; none for plain.",
    )
    node_id = serializers.IntegerField(
        write_only=True,
        required=False,
        allow_null=True,
        max_value=LARGEST_KEY,
        help_text="Which node tests it; empty takes any.",
    )

    class Meta(StorageBriefSerializer.Meta):
        fields = [
            *StorageBriefSerializer.Meta.fields,
            "config",
            "secrets_set",
            "encryption_recipients",
            "node_id",
            "capabilities",
            "tested_at",
            "test_error",
            "created_at",
        ]
        read_only_fields = ["capabilities", "tested_at", "test_error"]

    def get_secrets_set(self, storage: Storage) -> list[str]:
        """Return the names of the secrets that are kept."""
        return sorted(storage.secrets or {})

    def validate_config(self, config: object) -> dict[str, Any]:
        """Accept an object; its fields are checked by the kind of store."""
        if not isinstance(config, dict):
            raise serializers.ValidationError('Give an object, as {"path": "/srv/backups"}.')
        return config

    def create(self, validated_data: dict[str, Any]) -> Storage:
        """Add the storage."""
        validated_data.pop("node_id", None)
        return storages.create_storage(**validated_data)

    def update(self, instance: Storage, validated_data: dict[str, Any]) -> Storage:
        """Change the storage."""
        validated_data.pop("node_id", None)
        if self.partial and "config" in validated_data:
            validated_data["config"] = {**instance.config, **validated_data["config"]}
        return storages.change_storage(storage=instance, **validated_data)


class StorageTestSerializer(StrictSerializer):
    """Which node tries the storage; empty takes any that works now."""

    node_id = serializers.IntegerField(required=False, allow_null=True, max_value=LARGEST_KEY)


class StorageTestedBody(serializers.Serializer[Any]):
    """What a storage was seen to support."""

    success = serializers.BooleanField()
    capabilities = serializers.DictField()


class StorageUsage(serializers.Serializer[Any]):
    """What the good backups in one storage take."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    type = serializers.CharField()
    backup_count = serializers.IntegerField()
    used_bytes = serializers.IntegerField()
    used_gb = serializers.FloatField()


class StorageSummaryBody(serializers.Serializer[Any]):
    """What the good backups of the sites that the user may see take."""

    providers = StorageUsage(many=True)
    backup_count = serializers.IntegerField()
    used_bytes = serializers.IntegerField()
    used_gb = serializers.FloatField()

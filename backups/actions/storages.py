"""What is written about storages: their configuration, and what a test of them showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from backups import registry
from backups.errors import InUseError, InvalidFieldError, with_hint
from backups.models import BackupStatus, Storage
from backups.states import ACTIVE

_UNTESTED: dict[str, Any] = {"capabilities": None, "tested_at": None, "test_error": ""}


def create_storage(
    *,
    name: str,
    type: str,
    config: Mapping[str, Any],
    is_default: bool = False,
    encryption_recipients: Sequence[str] = (),
) -> Storage:
    """Create a storage; what the kind of store calls secret in `config` is kept encrypted.

    Its bundles are encrypted to the recipients, public keys of age, if there are any. Raises
    `InvalidFieldError` naming the field for a configuration that cannot be right.
    """
    storage = Storage(name=name, type=type, is_default=is_default)
    _take_config(storage, config)
    _take_recipients(storage, encryption_recipients)
    with transaction.atomic():
        storage.save()
        _keep_one_default(storage)
    return storage


def change_storage(
    *,
    storage: Storage,
    config: Mapping[str, Any] | None = None,
    encryption_recipients: Sequence[str] | None = None,
    **changes: Any,  # noqa: ANN401
) -> Storage:
    """Change a storage; secrets that `config` does not name stay as they are, empty ones go.

    A changed configuration has to be tested anew. Changed recipients count for bundles that are
    not stored yet; what is stored stays as it is. Raises `InUseError` for another `type` while
    backups are kept there, else as `create_storage`.
    """
    with transaction.atomic():
        storage = Storage.objects.select_for_update().get(pk=storage.pk)
        new_type = changes.get("type", storage.type)
        if new_type != storage.type:
            _require_empty(storage, "its type cannot change")
        kept = dict(storage.secrets or {}) if new_type == storage.type else {}
        before = storage.full_config()
        for name, value in changes.items():
            setattr(storage, name, value)
        if config is not None or new_type != storage.type:
            _take_config(storage, {**kept, **(config or {})})
        if encryption_recipients is not None:
            _take_recipients(storage, encryption_recipients)
        if storage.full_config() != before:
            for name, value in _UNTESTED.items():
                setattr(storage, name, value)
        storage.save()
        _keep_one_default(storage)
    return storage


def delete_storage(*, storage: Storage) -> None:
    """Delete a storage that nothing refers to; raises `InUseError` otherwise.

    Ended jobs without a backup are history only: they go with the storage.
    """
    with transaction.atomic():
        storage = Storage.objects.select_for_update().get(pk=storage.pk)
        _require_empty(storage, "it cannot be deleted")
        if storage.jobs.filter(state__in=ACTIVE).exists():
            raise InUseError(f"A running job writes to {storage}: it cannot be deleted now.")
        if storage.sites.exists():
            raise InUseError(f"{storage} is the storage of a site; choose another one there first.")
        storage.backups.all().delete()
        storage.jobs.all().delete()
        storage.delete()


def record_test(*, storage_id: int, capabilities: dict[str, Any] | None, error: str) -> None:
    """Keep what a node saw when it tried the storage, or why it cannot be used."""
    Storage.objects.filter(pk=storage_id).update(
        capabilities=capabilities, test_error=error, tested_at=Now()
    )


def _take_config(storage: Storage, given: Mapping[str, Any]) -> None:
    """Check a configuration and divide it into what may be read and what may not."""
    wanted = {name: value for name, value in given.items() if value not in (None, "")}
    try:
        registry.open_store(storage.type, wanted)
    except registry.engine_error_class() as error:
        raise InvalidFieldError(_field_of(error), _sentence(error)) from error
    secret = registry.store_secrets(storage.type)
    storage.config = {name: value for name, value in wanted.items() if name not in secret}
    storage.secrets = {name: value for name, value in wanted.items() if name in secret}


def _take_recipients(storage: Storage, recipients: Sequence[str]) -> None:
    try:
        storage.encryption_recipients = registry.checked_recipients(recipients)
    except registry.engine_error_class() as error:
        raise InvalidFieldError("encryption_recipients", _sentence(error)) from error


def _field_of(error: Exception) -> str:
    field = getattr(error, "field", "")
    if field == "type":
        return "type"
    return f"config.{field}" if field else "config"


def _sentence(error: Exception) -> str:
    return with_hint(getattr(error, "message", str(error)), getattr(error, "hint", ""))


def _require_empty(storage: Storage, consequence: str) -> None:
    kept = storage.backups.filter(status=BackupStatus.SUCCESS).count()
    if kept:
        raise InUseError(f"{storage} holds {kept} backups: {consequence}. Delete them first.")


def _keep_one_default(storage: Storage) -> None:
    if storage.is_default:
        Storage.objects.exclude(pk=storage.pk).filter(is_default=True).update(is_default=False)

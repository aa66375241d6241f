"""A storage that stands in a file, since its secrets must not stand on a command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from backups.actions import storages
from backups.errors import DomainError
from backups.management.audited import audited
from backups.models import Storage
from backups.queries import AuditedObject, audited_object

_FIELDS = {"name": str, "type": str, "config": dict}
_MORE = {"encryption_recipients": list, "is_default": bool}


def storage_from(file: Path) -> Storage:
    """Return the storage that the file describes, without a row if there is none of its name yet.

    One that is there must be the same: a command given twice does the same twice. Raises
    `CommandError`.
    """
    said = _read(file)
    there = Storage.objects.filter(name=said["name"]).first()
    if there is not None:
        given = {name: value for name, value in said["config"].items() if value not in (None, "")}
        if (there.type, there.full_config()) != (said["type"], given):
            raise CommandError(
                f"The storage {there.name} is there already, with another configuration. Give "
                "another name, or leave --config out to use it."
            )
        return there
    with transaction.atomic():
        storage = _created(file, said)
        transaction.set_rollback(True)
    storage.pk, storage._state.adding = None, True
    return storage


def add_storage_of(file: Path) -> Storage:
    """Add the storage that the file describes, and return it."""
    said = _read(file)
    with audited("storage.add", partial(_named, said["name"])):
        return _created(file, said)


def _created(file: Path, said: dict[str, Any]) -> Storage:
    try:
        return storages.create_storage(**said)
    except DomainError as error:
        raise CommandError(f"{file}: {error.message}") from error


def _named(name: str) -> AuditedObject:
    storage = Storage.objects.filter(name=name).first()
    return (
        audited_object("storage", storage.pk) if storage else AuditedObject("storage", label=name)
    )


def _read(file: Path) -> dict[str, Any]:
    """Return what the file says; no message repeats anything of it, there are secrets in it."""
    try:
        said = json.loads(file.read_text())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{file} holds no JSON.") from error
    if not isinstance(said, dict) or not said.keys() >= _FIELDS.keys():
        raise CommandError(f"{file} must hold an object with {', '.join(_FIELDS)}.")
    kinds = _FIELDS | _MORE
    if unknown := said.keys() - kinds.keys():
        raise CommandError(f"{file} holds unknown fields: {', '.join(sorted(unknown))}.")
    for name, value in said.items():
        if not isinstance(value, kinds[name]):
            raise CommandError(f"{file}: {name} must be a JSON {kinds[name].__name__}.")
    return said

"""Encrypts what the database holds anew, with the newest key, while everything runs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db.models import ExpressionWrapper, F, Model, QuerySet, TextField, Value

from backups.fields import EncryptedJSONField

PAGE_ROWS = 200
# Each one means that somebody wrote the row in the moment between reading and writing it.
ATTEMPTS = 10
_AS_STORED: TextField[Any, Any] = TextField()


@dataclass(slots=True)
class Rotation:
    """What was found: values under the newest key, under older ones, and under none.

    `rotated` counts those that this run wrote anew, `unreadable` names rows by model and key.
    """

    current: int = 0
    stale: int = 0
    rotated: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_secrets(*, write: bool = True) -> Rotation:
    """Put every encrypted value under the newest key; only look if not `write`.

    Row by row, each by an UPDATE on the value that was read: what somebody writes meanwhile stays,
    and a run that was cut short is gone on with by the next one. Values that no key opens stay as
    they are.
    """
    keys = [Fernet(key) for key in settings.HOLDFAST_ENCRYPTION_KEYS]
    found = Rotation()
    for model, name in encrypted_fields():
        for key, token in _tokens(model, name):
            _take(found, model, name, key, token, keys, write)
    return found


def encrypted_fields() -> list[tuple[type[Model], str]]:
    """Return every encrypted field of every model, with the model whose table has it."""
    return [
        (model, one.attname)
        for model in apps.get_models()
        for one in model._meta.local_concrete_fields
        if isinstance(one, EncryptedJSONField)
    ]


def _take(
    found: Rotation,
    model: type[Model],
    name: str,
    key: Any,  # noqa: ANN401  whatever the model's primary key is
    token: str,
    keys: list[Fernet],
    write: bool,
) -> None:
    """Count one value, and write it anew where that is wanted and needed."""
    for _ in range(ATTEMPTS):
        if not token or _opens(keys[0], token):
            found.current += bool(token)
            return
        if not _opens(MultiFernet(keys), token):
            found.unreadable.append(f"{model._meta.label} {key} ({name})")
            return
        if not write:
            break
        renewed = MultiFernet(keys).rotate(token.encode()).decode()
        row = _stored(model, name).filter(pk=key)
        if row.filter(as_stored=token).update(**{name: Value(renewed, output_field=_AS_STORED)}):
            found.rotated += 1
            return
        token = row.values_list("as_stored", flat=True).first() or ""
    found.stale += 1


def _tokens(model: type[Model], name: str) -> Iterator[tuple[Any, str]]:
    """Yield key and stored text of each row that has one, a page at a time."""
    rows = _stored(model, name).exclude(as_stored="").order_by("pk")
    last: Any = None
    while True:
        page = rows if last is None else rows.filter(pk__gt=last)
        read = list(page.values_list("pk", "as_stored")[:PAGE_ROWS])
        yield from read
        if len(read) < PAGE_ROWS:
            return
        last = read[-1][0]


def _stored(model: type[Model], name: str) -> QuerySet[Any]:
    """Return the rows with the column's text as it is, neither decrypted nor to be encrypted."""
    as_stored = ExpressionWrapper(F(name), output_field=_AS_STORED)
    return model._base_manager.annotate(as_stored=as_stored)


def _opens(cipher: Fernet | MultiFernet, token: str) -> bool:
    try:
        cipher.decrypt(token.encode())
    except InvalidToken:
        return False
    return True

"""Model fields that are encrypted in the database, with keys from the environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

from backups.errors import SecretUnreadableError


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.HOLDFAST_ENCRYPTION_KEYS])


# The stubs make fields generic; Django's own classes cannot be subscripted when they run.
if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField


class EncryptedJSONField(_TextField):
    """A JSON value, stored as one Fernet token. It cannot be searched, by design.

    The newest key encrypts, every key of HOLDFAST_ENCRYPTION_KEYS decrypts. Reading a value that
    no key opens raises `SecretUnreadableError`.
    """

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> Any:  # noqa: ANN401
        """Decrypt what the database holds; an empty column is None."""
        if not value:
            return None
        try:
            return json.loads(_cipher().decrypt(value.encode()))
        except InvalidToken as error:
            raise SecretUnreadableError(
                f"The secret in {self.model._meta.label}.{self.name} cannot be decrypted with any "
                "key in HOLDFAST_ENCRYPTION_KEYS. Put the key it was stored with back in the list."
            ) from error

    def get_prep_value(self, value: Any) -> str | None:  # noqa: ANN401
        """Encrypt for the database; None, empty text and empty objects stay empty."""
        if not value:
            return ""
        return _cipher().encrypt(json.dumps(value).encode()).decode()

    def value_to_string(self, obj: models.Model) -> str:
        """Serialise as the encrypted token: a fixture never holds a secret in plain text."""
        return self.get_prep_value(self.value_from_object(obj)) or ""

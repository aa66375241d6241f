"""Values that are encrypted in the database."""

from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.db import connection

from backups.errors import SecretUnreadableError
from backups.models import Storage

SECRETS = {"secret_access_key": "geheim 🎉"}


@pytest.fixture
def secret_storage(db: None) -> Storage:
    return Storage.objects.create(name="s3", type="s3", config={"bucket": "b"}, secrets=SECRETS)


def column() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM backups_storage")
        return str(cursor.fetchone()[0])


def test_value_comes_back_and_the_column_holds_none_of_it(secret_storage: Storage) -> None:
    assert Storage.objects.get().secrets == SECRETS
    assert secret_storage.full_config() == {"bucket": "b", **SECRETS}
    assert "geheim" not in column()


@pytest.mark.parametrize("empty", ["", None, {}])
def test_column_stays_empty_when_there_is_no_secret(empty: object, db: None) -> None:
    Storage.objects.create(name="x", type="local", secrets=empty)
    assert column() == ""
    assert Storage.objects.get().full_config() == {}


def test_older_keys_read_and_the_newest_writes(
    secret_storage: Storage, settings: pytest.FixtureRequest
) -> None:
    old = settings.HOLDFAST_ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()
    settings.HOLDFAST_ENCRYPTION_KEYS = [new, *old]
    storage = Storage.objects.get()
    assert storage.secrets == SECRETS
    storage.save()
    settings.HOLDFAST_ENCRYPTION_KEYS = [new]
    assert Storage.objects.get().secrets == SECRETS


def test_error_names_the_column_and_the_setting_when_no_key_fits(
    secret_storage: Storage, settings: pytest.FixtureRequest
) -> None:
    settings.HOLDFAST_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(SecretUnreadableError, match=r"Storage\.secrets.*HOLDFAST_ENCRYPTION_KEYS"):
        Storage.objects.get()


def test_fixture_holds_no_secret_in_plain_text(secret_storage: Storage) -> None:
    dumped = serializers.serialize("json", [secret_storage])
    assert "geheim" not in dumped
    assert json.loads(dumped)[0]["fields"]["secrets"]

"""`manage.py rotate_secrets`: stored secrets move to the newest key."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import isolate_apps

from backups.actions import secrets
from backups.fields import EncryptedJSONField
from backups.models import AuditEntry, Site, Storage

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRETS = {"secret_access_key": "geheim-im-speicher"}


@pytest.fixture
def stored(site: Site, storage: Storage, settings: Any) -> None:
    """A storage and a site with secrets under the old key, and a new key in front of it."""
    settings.HOLDFAST_ENCRYPTION_KEYS = [OLD]
    Storage.objects.filter(pk=storage.pk).update(secrets=SECRETS)
    Site.objects.filter(pk=site.pk).update(db_password="geheim-der-site")
    settings.HOLDFAST_ENCRYPTION_KEYS = [NEW, OLD]


def rotate(*arguments: str) -> str:
    said = StringIO()
    call_command("rotate_secrets", *arguments, stdout=said, stderr=said)
    return said.getvalue()


def columns() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM backups_storage ORDER BY id")
        found = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT db_password FROM backups_site ORDER BY id")
        return found + [row[0] for row in cursor.fetchall()]


def test_old_key_is_needed_no_more_when_all_is_rotated(stored: None, settings: Any) -> None:
    assert rotate().startswith("2 encrypted anew, 0 already under the newest key, 0 under older")
    settings.HOLDFAST_ENCRYPTION_KEYS = [NEW]
    assert Storage.objects.get().secrets == SECRETS
    assert Site.objects.get().db_password == "geheim-der-site"


def test_nothing_is_written_when_all_is_current(stored: None) -> None:
    rotate()
    before = columns()
    assert rotate().startswith("0 encrypted anew, 2 already under the newest key")
    assert columns() == before


def test_check_fails_and_writes_nothing_when_an_old_key_is_in_use(stored: None) -> None:
    before = columns()
    with pytest.raises(CommandError, match="Older keys are still needed"):
        rotate("--check")
    assert columns() == before
    rotate()
    assert "0 under older keys" in rotate("--check")


def test_row_is_named_without_its_content_when_no_key_opens_it(
    stored: None, storage: Storage, settings: Any
) -> None:
    settings.HOLDFAST_ENCRYPTION_KEYS = [OTHER]
    Storage.objects.filter(pk=storage.pk).update(secrets=SECRETS)
    [token, _] = columns()
    settings.HOLDFAST_ENCRYPTION_KEYS = [NEW, OLD]
    said = StringIO()
    with pytest.raises(CommandError, match="Put the key"):
        call_command("rotate_secrets", stdout=said, stderr=said)
    assert f"No key opens backups.Storage {storage.pk} (secrets)." in said.getvalue()
    assert token not in said.getvalue()
    # It stays as it is, and what can be rotated was.
    assert columns()[0] == token
    assert said.getvalue().startswith("1 encrypted anew")


def test_change_of_somebody_else_stays_when_it_comes_in_between(
    stored: None, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"secret_access_key": "neuer"}
    real = secrets.MultiFernet.rotate

    def rotate_late(self: Any, token: bytes) -> bytes:
        if Storage.objects.get(pk=storage.pk).secrets == SECRETS:
            Storage.objects.filter(pk=storage.pk).update(secrets=changed)
        return real(self, token)

    monkeypatch.setattr(secrets.MultiFernet, "rotate", rotate_late)
    rotate()
    assert Storage.objects.get(pk=storage.pk).secrets == changed


def test_value_is_rotated_when_it_was_changed_under_an_old_key_in_between(
    stored: None, storage: Storage, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Fernet(OLD).encrypt(b'{"secret_access_key": "spaet"}').decode()
    real, to_write = secrets.MultiFernet.rotate, [late]

    def rotate_late(self: Any, token: bytes) -> bytes:
        if to_write:
            # As a process does that was not told of the new key yet.
            with connection.cursor() as cursor:
                values = [to_write.pop(), storage.pk]
                cursor.execute("UPDATE backups_storage SET secrets = %s WHERE id = %s", values)
        return real(self, token)

    monkeypatch.setattr(secrets.MultiFernet, "rotate", rotate_late)
    rotate()
    settings.HOLDFAST_ENCRYPTION_KEYS = [NEW]
    assert Storage.objects.get(pk=storage.pk).secrets == {"secret_access_key": "spaet"}


def test_every_row_is_rotated_when_there_are_several_pages(
    stored: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(secrets, "PAGE_ROWS", 2)
    settings.HOLDFAST_ENCRYPTION_KEYS = [OLD]
    Storage.objects.bulk_create(
        [Storage(name=f"s{number}", type="local", secrets=SECRETS) for number in range(4)]
    )
    Storage.objects.create(name="without", type="local")
    settings.HOLDFAST_ENCRYPTION_KEYS = [NEW, OLD]
    assert rotate().startswith("6 encrypted anew")


def test_every_encrypted_field_is_found_by_what_it_is() -> None:
    assert set(secrets.encrypted_fields()) == {(Storage, "secrets"), (Site, "db_password")}


@isolate_apps("backups")
def test_new_encrypted_field_is_found_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Further(models.Model):
        inner = EncryptedJSONField()

        class Meta:
            app_label = "backups"

        def __str__(self) -> str:
            return "further"

    monkeypatch.setattr(secrets.apps, "get_models", lambda: [Further])
    assert secrets.encrypted_fields() == [(Further, "inner")]


def test_rotation_is_in_the_trail_but_a_look_is_not(stored: None) -> None:
    with pytest.raises(CommandError):
        rotate("--check")
    assert not AuditEntry.objects.exists()
    rotate()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome, entry.source) == ("secrets.rotate", "success", "command")

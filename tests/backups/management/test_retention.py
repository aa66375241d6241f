"""`manage.py retention`: what stays, what goes, and --apply."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from backups.models import AuditEntry, Backup, Site

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def history(site: Site, make_backup: Callable[..., Backup]) -> list[Backup]:
    now = datetime.now(UTC)
    days = [now - n * timedelta(days=1) for n in range(1, 31)]
    return [make_backup(site, number=n, created_at=day) for n, day in enumerate(days, start=1)]


def retention(*arguments: str) -> str:
    written = io.StringIO()
    call_command("retention", *arguments, stdout=written)
    return written.getvalue()


def test_it_shows_what_stays_and_what_goes_and_removes_nothing(history: list[Backup]) -> None:
    text = retention("example.com")
    assert text.startswith("Policy: keep_last 7 (default), daily 0 (default)")
    assert f"stays  {history[0].pk}" in text and "number 1 of the last 7" in text
    assert f"goes   {history[29].pk}" in text and "no rule asks for it" in text
    assert "7 stay, 23 go (138 bytes)" in text
    assert Backup.objects.count() == 30


def test_apply_removes_all_of_it(answering: None, history: list[Backup]) -> None:
    assert "23 removed" in retention("example.com", "--apply")
    assert Backup.objects.count() == 7
    assert AuditEntry.objects.filter(action="site.prune", outcome="success").count() == 1
    assert "removed" not in retention("example.com", "--apply")


def test_apply_says_why_nothing_was_removed(answering: None, history: list[Backup]) -> None:
    Path(history[0].storage.config["path"], history[0].object_key).unlink()
    with pytest.raises(CommandError, match="The object is not there"):
        retention("example.com", "--apply")
    assert Backup.objects.count() == 30


def test_apply_says_that_no_worker_is_there(history: list[Backup]) -> None:
    with pytest.raises(CommandError, match="No worker of web-01 is running"):
        retention("example.com", "--apply")

"""What commands write is in the audit trail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from backups.management.audited import audited, system_user
from backups.models import AuditEntry, Node, Site
from backups.queries import AuditedObject


def entries() -> list[tuple[str, str, str, str]]:
    return [
        (one.action, one.outcome, one.object_label, one.actor_name)
        for one in AuditEntry.objects.order_by("pk")
    ]


def test_each_write_is_written_down_as_the_systems_user(site: Site, node: Node) -> None:
    who = f"command:{system_user()}"
    call_command("backup", str(site.pk), "--no-follow")
    call_command("job", "stop", site.name)
    with pytest.raises(CommandError):
        call_command("job", "stop", site.name)
    call_command("job", "reset", site.name)
    call_command("node", "drain", node.name)
    call_command("node", "scale", node.name, "3")
    with pytest.raises(CommandError):
        call_command("node", "resume", "nowhere")
    call_command("node", "add", "web-77", "--root", "/srv/77")
    call_command("node", "disable", "web-77")
    assert entries() == [
        ("backup.start", "success", site.name, who),
        ("job.stop", "success", site.name, who),
        ("job.stop", "refused", site.name, who),
        ("job.reset", "success", site.name, who),
        ("node.drain", "success", node.name, who),
        ("node.scale", "success", node.name, who),
        ("node.resume", "refused", "nowhere", who),
        ("node.add", "success", "web-77", who),
        ("node.disable", "success", "web-77", who),
    ]
    started = AuditEntry.objects.earliest("pk")
    assert (started.source, started.site_id, started.node_id) == ("command", site.pk, node.pk)


def test_token_is_in_no_entry(node: Node, capsys: Any, settings: Any) -> None:
    settings.HOLDFAST_NODE_DATABASE_URL = "mysql://u@10.0.0.1/h"
    settings.HOLDFAST_NODE_BROKER_URL = "redis://10.0.0.1/0"
    call_command("node", "token", node.name, "--quiet")
    token = capsys.readouterr().out.strip()
    assert entries()[0][:2] == ("node.invite", "success")
    assert token
    assert token not in str(AuditEntry.objects.values())


def test_reading_is_not_written_down(site: Site, node: Node) -> None:
    call_command("job", "list")
    call_command("node", "list")
    assert entries() == []


def test_bug_is_written_down_and_goes_on(db: None) -> None:
    with pytest.raises(ZeroDivisionError), audited("node.add", AuditedObject):
        raise ZeroDivisionError
    [entry] = AuditEntry.objects.all()
    assert (entry.outcome, entry.detail) == ("failed", "ZeroDivisionError")


def test_entry_is_made_although_its_object_cannot_be_asked_for(db: None) -> None:
    def fail() -> AuditedObject:
        raise ZeroDivisionError

    with audited("node.add", fail):
        pass
    [entry] = AuditEntry.objects.all()
    assert (entry.outcome, entry.object_type) == ("success", "node")


def test_coordinator_removes_what_is_older_than_it_is_kept(
    site: Site, node: Node, settings: Any
) -> None:
    call_command("node", "drain", node.name)
    call_command("node", "resume", node.name)
    old = AuditEntry._base_manager.filter(action="node.drain")
    old.update(created_at=Now() - timedelta(days=settings.HOLDFAST_AUDIT_DAYS + 1))
    call_command("coordinator", "--once")
    assert [entry[0] for entry in entries()] == ["node.resume"]

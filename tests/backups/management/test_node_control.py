"""`manage.py node list|scale|drain|resume|enable|disable`."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now

from backups.models import Node, Site
from tests.backups.conftest import claimed

pytestmark = pytest.mark.usefixtures("closed_broker")


def node_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("node", *arguments, stdout=out)
    return out.getvalue()


def listed() -> list[str]:
    """Return the cells of the one node's line."""
    return node_command("list").splitlines()[1].split()


def test_list_shows_how_a_node_stands(site: Site, node: Node, live_worker: object) -> None:
    roots = node.allowed_roots[0]
    assert listed() == ["web-01", "online", "2", "0", "0", "-", "-", "-", roots]
    claimed(site)
    Node.objects.update(disk_free_bytes=3 << 29, load_average=0.5, last_seen_at=Now())
    cells = listed()
    assert cells[:7] == ["web-01", "online", "2", "1", "0", "1.5GiB", "0.50"]
    assert cells[7].endswith("Z")
    Node.objects.update(is_draining=True)
    assert listed()[1] == "online,draining"
    Node.objects.update(is_enabled=False)
    assert listed()[1] == "disabled"


def test_number_is_kept_when_a_node_is_scaled(node: Node) -> None:
    assert "Stages at once on web-01: 5" in node_command("scale", "web-01", "5")
    assert Node.objects.get().slots == 5


@pytest.mark.parametrize("number", ["0", "65", "x"])
def test_number_is_refused_when_no_node_can_do_it(number: str, node: Node) -> None:
    with pytest.raises(CommandError, match=r"than or equal to|invalid int"):
        node_command("scale", "web-01", number)
    assert Node.objects.get().slots == 2


def test_node_drains_and_resumes(node: Node) -> None:
    assert "Draining web-01" in node_command("drain", "web-01")
    assert Node.objects.get().is_draining
    assert "Resumed web-01" in node_command("resume", "web-01")
    assert not Node.objects.get().is_draining


def test_node_is_disabled_and_enabled(node: Node) -> None:
    assert "Disabled web-01" in node_command("disable", "web-01")
    assert not Node.objects.get().is_enabled
    assert "Enabled web-01" in node_command("enable", "web-01")
    assert Node.objects.get().is_enabled


@pytest.mark.parametrize("words", [("scale", "3"), ("drain",), ("resume",), ("enable",)])
def test_error_lists_the_nodes_when_there_is_no_such_one(
    words: tuple[str, ...], node: Node
) -> None:
    word, *rest = words
    with pytest.raises(CommandError, match=r"known: web-01"):
        node_command(word, "web-1", *rest)


def test_enabling_takes_the_roots_of_a_node_that_has_none(node: Node) -> None:
    Node.objects.update(is_enabled=False, allowed_roots=[])
    with pytest.raises(CommandError, match="absolute"):
        node_command("enable", "web-01", "--root", "www")
    node_command("enable", "web-01", "--root", "/var/www", "--root", "/srv/www")
    row = Node.objects.get()
    assert (row.is_enabled, row.allowed_roots) == (True, ["/var/www", "/srv/www"])
    with pytest.raises(CommandError, match="other roots already"):
        node_command("enable", "web-01", "--root", "/")

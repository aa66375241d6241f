"""No page asks the database more often for many rows than for few; the bench has the times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.models import Node, Site
from panel.accounts.models import User
from tests.bench.scale import pages_of
from tests.bench.scale_rows import Role, Size, fill, people

# So many that some sites are protected and some are failing.
FEW = Size(nodes=2, sites=6, jobs=114)
# Health asks in threads, which know nothing of a test's transaction; few jobs have few pages.
SKIPPED = ("health", "jobs, completed, middle")
# Of pages that differ in a condition or in the order alone, one will do.
ALIKE = ("sites by ", "jobs, ", "jobs of node")
TAKEN = ("sites by -backup_count", "jobs, completed", "jobs, end", "jobs of node, failed")
THIRTY = Size(nodes=30, sites=30, jobs=200)


def everybody() -> Iterator[Role]:
    """One of each role, who sees all there is."""
    for role in people():
        # As the other node admin, with all nodes.
        if role.name == "node admin, 1":
            continue
        user = User.objects.get(pk=role.client.session["_auth_user_id"])
        if "node admin" in role.name:
            user.assigned_nodes.set(Node.objects.all())
        if "site admin" in role.name:
            user.assigned_sites.set(Site.objects.all())
        yield role


def queries_of(role: Role) -> dict[tuple[str, str], int]:
    """How many queries each page takes that the role may see."""
    counts = {}
    for page, path in pages_of(role):
        if page in SKIPPED or (page.startswith(ALIKE) and page not in TAKEN):
            continue
        # Charts are kept there for a minute.
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            answer = role.client.get(path, headers={"Accept": "application/json, text/html"})
        if answer.status_code == 200:
            counts[role.name, page] = len(captured)
    return counts


@pytest.mark.django_db
def test_pages_take_as_many_queries_for_thirty_rows_as_for_six() -> None:
    fill(FEW)
    few = {key: n for role in everybody() for key, n in queries_of(role).items()}
    fill(THIRTY)
    many = {key: n for role in everybody() for key, n in queries_of(role).items()}
    assert {key: (few.get(key), n) for key, n in many.items() if few.get(key) != n} == {}
    assert len(many) == len(few) > 100
    # That is with those for who asks, in what session, with which rights.
    assert max(many.values()) <= 25

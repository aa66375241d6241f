"""No page asks the database more often for many rows than for few; the bench has the times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.models import Node, Site
from panel.accounts.models import User
from tests.bench.scale import MAYBE_EMPTY, pages_of
from tests.bench.scale_rows import Role, Size, fill, people

TWO = Size(nodes=2, sites=2, jobs=8)
# Health asks in threads, which know nothing of a test's transaction; eight jobs have few pages, and
# no site whose newest one failed; refusals are written down while this looks.
SKIPPED = ("health", "jobs, completed, middle", "admin: site, failed", "admin: auditentry")
# Of pages that differ in a condition or in the order alone, one will do.
ALIKE = ("sites by ", "jobs, ", "jobs of node", *MAYBE_EMPTY)
TAKEN = ("sites by -backup_count", "jobs, completed", "jobs, end", "jobs of node, failed")
# The last two are new in a filling and have active jobs, as the first two have.
MANY = Size(nodes=30, sites=32, jobs=128)


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
        # Else charts that were drawn for one page would be there for the next.
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            answer = role.client.get(path, headers={"Accept": "application/json, text/html"})
        if answer.status_code == 200:
            counts[role.name, page] = len(captured)
    return counts


@pytest.mark.django_db
def test_pages_take_as_many_queries_for_thirty_rows_as_for_two() -> None:
    fill(TWO)
    # Known to the process from then on.
    ContentType.objects.get_for_models(*apps.get_models())
    few = {key: n for role in everybody() for key, n in queries_of(role).items()}
    fill(MANY)
    many = {key: n for role in everybody() for key, n in queries_of(role).items()}
    assert {key: (few.get(key), n) for key, n in many.items() if few.get(key) != n} == {}
    assert len(many) == len(few) > 100
    # That is with those for who asks, in what session, with which rights.
    charted = {key for key in many if key[1].startswith("dashboard")}
    assert max(n for key, n in many.items() if key not in charted) <= 20
    assert max(many[key] for key in charted) <= 32

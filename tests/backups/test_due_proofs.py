"""Which backup is proven next: one that cannot be holds no other up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from backups import queries
from backups.models import Backup, Job, Node, Site, Worker
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]


@pytest.fixture
def neighbour(site: Site, make_backup: Callable[..., Backup]) -> Backup:
    """The backup of another site on the node, which is asked for after the first one's."""
    other = Site.objects.create(
        name="other.example", node=site.node, storage=site.storage, wp_path="/srv/neighbour"
    )
    return make_backup(other, number=2)


@pytest.mark.parametrize(
    "change", [{"check_problem": "The object is not there."}, {"removing_since": Now()}]
)
def test_one_that_is_not_there_is_left_out_for_the_one_before_it(
    change: dict[str, Any], site: Site, live_worker: Worker, make_backup: Callable[..., Backup]
) -> None:
    """A proof of it would mark it suspect for good, though its disk may be back soon."""
    older, newest = make_backup(site), make_backup(site, number=2)
    assert [one for _node, one in queries.proofs_due(every=True)] == [newest]
    Backup.objects.filter(pk=newest.pk).update(**change)
    assert [one for _node, one in queries.proofs_due(every=True)] == [older]


def test_a_site_that_was_moved_away_from_its_folder_holds_no_other_up(
    site: Site,
    other_node: Node,
    live_worker: Worker,
    neighbour: Backup,
    make_backup: Callable[..., Backup],
) -> None:
    job = ended_job(site)
    Job.objects.filter(pk=job.pk).update(node=other_node)
    make_backup(site, job=job)
    assert [one for _node, one in queries.proofs_due(every=True)] == [neighbour]

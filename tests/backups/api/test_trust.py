"""`/backups/{id}/trust`: a site that shrank has good backups again once somebody said so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from backups.actions import attempts
from backups.models import Backup, Proof, Site
from panel.accounts.models import User
from tests.backups.conftest import claimed
from tests.backups.test_admin_control import run, staff_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]


@pytest.fixture
def suspect(site: Site, make_backup: Callable[..., Backup]) -> Backup:
    """A suspect backup after a good one of the day before."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    make_backup(site, facts={"files": 100}, created_at=yesterday)
    return make_backup(site, number=2, is_suspect=True, facts={"files": 10})


def address(backup: Backup) -> str:
    return f"/api/v1/backups/{backup.pk}/trust"


def disprove(backup: Backup) -> None:
    Proof.objects.create(
        backup=backup, site=backup.site, node=backup.site.node, outcome="failed", created_at=Now()
    )


def test_trusted_backup_counts_and_later_ones_are_held_against_it(
    api: APIClient, site: Site, suspect: Backup
) -> None:
    attempt = claimed(site)
    assert attempts.previous_facts(attempt) == {"files": 100}
    for _ in range(2):
        answer = api.post(address(suspect))
        assert (answer.status_code, answer.json()["is_suspect"]) == (200, False)
    assert attempts.previous_facts(attempt) == {"files": 10}
    kept = api.get(f"/api/v1/sites/{site.pk}/retention?keep_last=1").json()
    assert [one["reasons"] for one in kept["keep"]] == [
        ["the newest good one", "number 1 of the last 1"]
    ]


def test_own_admins_of_a_site_may_not(
    client_of: Callable[[User], APIClient], site_admin: User, node_admin: User, suspect: Backup
) -> None:
    assert client_of(site_admin).post(address(suspect)).status_code == 403
    assert client_of(node_admin).post(address(suspect)).status_code == 200


def test_what_a_proof_disproved_is_not_to_be_trusted(api: APIClient, suspect: Backup) -> None:
    disprove(suspect)
    answer = api.post(address(suspect))
    assert (answer.status_code, answer.json()["code"]) == (409, "trust_refused")
    assert Backup.objects.get(pk=suspect.pk).is_suspect


def test_a_failure_is_refused(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    failed = make_backup(site, status="FAILED", object_key="")
    assert api.post(address(failed)).json()["code"] == "trust_refused"


def test_admin_asks_and_then_trusts_those_that_may_be(
    staff: Client, site: Site, site_admin: User, suspect: Backup
) -> None:
    assert "holds much less than the one before" in run(staff, Backup, "trust", suspect)
    assert Backup.objects.get(pk=suspect.pk).is_suspect
    said = run(staff_client(site_admin), Backup, "trust", suspect, confirmed="yes")
    assert "Only an admin of its node" in said
    assert "counts as a good one" in run(staff, Backup, "trust", suspect, confirmed="yes")
    assert not Backup.objects.get(pk=suspect.pk).is_suspect

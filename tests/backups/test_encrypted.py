"""Whether a restore or a proof of an encrypted backup may begin: where the keys are, it may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backups import queries
from backups.actions import proofs, restores
from backups.actions.receipts import DISPROVED_CODES
from backups.actions.restores import RestoreRequest
from backups.errors import RestoreRefusedError
from backups.models import Backup, Job, Node, Site, Worker
from workers.engine.age.errors import ChunkDamaged, HeaderDamaged, NoIdentity, Truncated

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]


@pytest.fixture
def encrypted(site: Site, make_backup: Callable[..., Backup]) -> Backup:
    backup = make_backup(site)
    backup.encrypted_to = ["age1ours", "age1offline"]
    backup.save()
    return backup


def tell(worker: Worker, *recipients: str) -> None:
    worker.versions = {"python": "3.11", "age_recipients": ",".join(recipients)}
    worker.save()


def test_it_is_refused_with_advice_where_no_worker_has_a_key(
    encrypted: Backup, site: Site, live_worker: Worker
) -> None:
    tell(live_worker, "age1another")
    with pytest.raises(RestoreRefusedError, match="HOLDFAST_AGE_IDENTITY_FILE"):
        proofs.start_proof(backup=encrypted)
    with pytest.raises(RestoreRefusedError, match="none of the keys"):
        restores.start_restore(
            site=site, backup=encrypted, request=RestoreRequest(what="files"), requested_by=None
        )
    assert not Job.objects.filter(source=encrypted).exists()


@pytest.mark.parametrize("told", [("age1ours",), ("age1another", "age1offline")])
def test_it_begins_where_a_worker_has_one_of_the_keys(
    told: tuple[str, ...], encrypted: Backup, live_worker: Worker
) -> None:
    tell(live_worker, *told)
    assert proofs.start_proof(backup=encrypted).source == encrypted


def test_it_waits_for_a_worker_where_none_lives(encrypted: Backup) -> None:
    assert proofs.start_proof(backup=encrypted).source == encrypted


def test_plain_backups_need_no_key(
    site: Site, make_backup: Callable[..., Backup], live_worker: Worker
) -> None:
    assert proofs.start_proof(backup=make_backup(site))


def test_a_backup_that_cannot_be_read_holds_no_other_proof_up(
    encrypted: Backup,
    node: Node,
    live_worker: Worker,
    make_backup: Callable[..., Backup],
) -> None:
    other = Site.objects.create(
        name="other.example.com", node=node, storage=encrypted.storage, wp_path="/srv/other"
    )
    Site.objects.filter(pk=encrypted.site_id).update(proven_at=None)
    plain = make_backup(other, number=2)
    assert queries.proofs_due(every=True) == [(node, plain)]
    tell(live_worker, "age1ours")
    assert queries.proofs_due(every=True) == [(node, encrypted)]


def test_damage_counts_against_a_backup_and_a_missing_key_does_not() -> None:
    assert {HeaderDamaged.code, ChunkDamaged.code, Truncated.code} <= DISPROVED_CODES
    assert NoIdentity.code not in DISPROVED_CODES

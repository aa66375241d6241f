"""Where a backup is proven: at home, or on another node that reaches, opens and loads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from backups import queries
from backups.actions import nodes, proofs
from backups.actions.endings import fail_job
from backups.actions.receipts import DISPROVED_CODES
from backups.errors import NodeDisabledError, RestoreRefusedError
from backups.models import Backup, Job, JobEvent, Node, Site, Storage, Worker
from backups.queries import jobs_visible_to, proofs_due
from panel.accounts.models import User
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]


@pytest.fixture
def bucket(storage: Storage) -> None:
    """Let every node reach the storage; nobody looks into it here."""
    Storage.objects.filter(pk=storage.pk).update(type="s3")


@pytest.fixture
def backup(site: Site, make_backup: Callable[..., Backup], bucket: None) -> Backup:
    return make_backup(site)


def works(node: Node, *engines: str, keys: str = "") -> Worker:
    """A live worker of the node, and what it tells of itself."""
    return Worker.objects.create(
        name=f"{node.name}.{Worker.objects.count()}@host",
        node=node,
        hostname=node.name,
        process_id=1,
        started_at=Now(),
        last_seen_at=Now(),
        versions={"scratch_engines": ",".join(engines), "age_recipients": keys},
    )


def denied(backup: Backup, node: Node, days: int = 1) -> Job:
    """A proof that the server of the node refused, so many days ago."""
    job = proofs.start_proof(backup=backup, trigger=proofs.TRIGGER, node=node)
    running = Job.objects.filter(pk=job.pk)
    running.update(state="running")
    assert fail_job(
        job, running, code="privileges_missing", message="It may not make databases", hint="GRANT"
    )
    running.update(queued_at=Now() - timedelta(days=days), active_proof=None)
    return job


def test_a_backup_is_proven_at_home_where_that_can_be(
    backup: Backup, node: Node, other_node: Node
) -> None:
    works(node)
    works(other_node, "mysql")
    assert queries.prover_of(backup) == node
    assert proofs.start_proof(backup=backup).node == node


def test_a_backup_of_a_dead_node_is_proven_elsewhere_and_seen_by_those_of_its_site(
    backup: Backup, site: Site, node: Node, other_node: Node, node_admin: User, site_admin: User
) -> None:
    works(other_node, "mysql")
    stranger = User.objects.create_user("other@example.com", "a-fine-password", role="node_admin")
    other_node.admins.add(stranger)
    job = proofs.start_proof(backup=backup)
    assert (job.node, job.site, job.state) == (other_node, site, "queued")
    assert JobEvent.objects.filter(job=job, message__endswith=" on web-02").exists()
    for user in (node_admin, site_admin):
        assert list(jobs_visible_to(user)) == [job]
    assert not jobs_visible_to(stranger).exists()


def test_pages_of_the_site_name_the_other_node_and_do_not_lead_there(
    backup: Backup, other_node: Node, node_admin: User
) -> None:
    works(other_node, "mysql")
    job = proofs.start_proof(backup=backup)
    User.objects.filter(pk=node_admin.pk).update(is_staff=True)
    browser = Client()
    browser.force_login(User.objects.get(pk=node_admin.pk))
    for page in ("", f"{job.pk}/change/"):
        shown = browser.get(f"/admin/backups/job/{page}")
        assert shown.status_code == 200
        assert "web-02" in shown.text
        assert f"/admin/backups/node/{other_node.pk}/" not in shown.text


def test_a_node_that_is_disabled_or_drains_is_spared(
    backup: Backup, node: Node, other_node: Node
) -> None:
    works(node)
    nodes.drain_node(node=node)
    assert queries.prover_of(backup) == node, "somebody who asks waits until it is resumed"
    works(other_node, "mysql")
    assert queries.prover_of(backup) == other_node
    nodes.change_node(node=node, is_enabled=False)
    assert proofs_due(every=True) == [(other_node, backup)]
    nodes.drain_node(node=other_node)
    assert proofs_due(every=True) == []
    with pytest.raises(NodeDisabledError, match="web-01 is disabled"):
        proofs.start_proof(backup=backup)


@pytest.mark.parametrize(
    ("engine", "told", "able"),
    [
        ("mysql", ("mysql",), True),
        ("mysql", ("postgresql",), False),
        ("postgresql", ("mysql", "postgresql"), True),
        ("sqlite", (), True),
        ("", (), True),
        (None, (), False),  # an older backup: probably MySQL
        (None, ("mysql",), True),
    ],
)
def test_another_node_needs_a_scratch_server_of_the_engine(
    backup: Backup, other_node: Node, engine: str | None, told: tuple[str, ...], able: bool
) -> None:
    backup.facts = {} if engine is None else {"database_engine": engine}
    backup.save()
    works(other_node, *told)
    assert proofs_due(every=True) == ([(other_node, backup)] if able else [])
    assert queries.prover_of(backup) == (other_node if able else backup.site.node)


def test_a_site_that_names_its_engine_is_believed_of_older_backups(
    backup: Backup, site: Site, other_node: Node
) -> None:
    works(other_node)
    assert proofs_due(every=True) == []
    Site.objects.filter(pk=site.pk).update(db_engine="sqlite")
    assert proofs_due(every=True) == [(other_node, backup)]


def test_another_node_must_have_a_key_of_an_encrypted_backup(
    backup: Backup, node: Node, other_node: Node
) -> None:
    backup.encrypted_to, backup.object_key = ["age1ours"], f"{backup.object_key}.age"
    backup.save()
    works(node, keys="age1another")
    works(other_node, "mysql", keys="age1another")
    with pytest.raises(RestoreRefusedError, match="web-01 has none of the keys"):
        proofs.start_proof(backup=backup)
    assert proofs_due(every=True) == []
    works(other_node, keys="age1ours")
    assert proofs_due(every=True) == [(other_node, backup)]
    assert proofs.start_proof(backup=backup).node == other_node


def test_a_bundle_in_a_folder_is_proven_where_it_lies(
    site: Site, node: Node, other_node: Node, make_backup: Callable[..., Backup]
) -> None:
    backup = make_backup(site, job=ended_job(site))
    works(other_node, "mysql")
    assert proofs_due(every=True) == []
    assert queries.prover_of(backup) == node
    # The site moves, its bundle does not.
    Site.objects.filter(pk=site.pk).update(node=other_node)
    assert proofs_due(every=True) == []
    with pytest.raises(RestoreRefusedError, match="a folder of web-01, not of web-02"):
        proofs.start_proof(backup=backup)
    works(node)
    with pytest.raises(RestoreRefusedError, match="needs a live worker, and a scratch server"):
        proofs.start_proof(backup=backup)
    works(node, "mysql")
    assert proofs_due(every=True) == [(node, backup)]
    assert proofs.start_proof(backup=backup).node == node


def test_idle_nodes_with_scratch_servers_help_and_others_do_not(
    backup: Backup,
    storage: Storage,
    node: Node,
    other_node: Node,
    make_backup: Callable[..., Backup],
) -> None:
    second = Site.objects.create(
        name="second.example", node=node, storage=storage, wp_path="/srv/second"
    )
    later = make_backup(second, number=2)
    works(node)
    worker = works(other_node)
    assert proofs_due(every=True) == [(node, backup)]
    worker.versions = {"scratch_engines": "mysql"}
    worker.save()
    assert proofs_due(every=True) == [(node, backup), (other_node, later)]
    proofs.start_proof(backup=backup, node=node)
    # One proof on each node that has nothing else to do.
    assert proofs_due(every=True) == [(other_node, later)]
    proofs.start_proof(backup=later, node=other_node)
    assert proofs_due(every=True) == []


def test_a_right_that_is_missing_is_asked_for_again_a_week_later(
    backup: Backup, node: Node
) -> None:
    works(node)
    job = denied(backup, node, days=1)
    backup.refresh_from_db()
    assert not backup.is_suspect
    assert not backup.proofs.exists()
    assert "privileges_missing" not in DISPROVED_CODES
    assert proofs_due(every=True) == []
    Job.objects.filter(pk=job.pk).update(queued_at=Now() - timedelta(days=6))
    assert proofs_due(every=True) == []
    Job.objects.filter(pk=job.pk).update(queued_at=Now() - timedelta(days=8))
    assert proofs_due(every=True) == [(node, backup)]


def test_any_other_failure_is_asked_again_the_next_night(backup: Backup, node: Node) -> None:
    works(node)
    job = denied(backup, node)
    Job.objects.filter(pk=job.pk).update(error_code="server_unreachable")
    assert proofs_due(every=True) == [(node, backup)]


def test_where_the_site_may_not_another_node_does(
    backup: Backup, node: Node, other_node: Node
) -> None:
    works(node)
    denied(backup, node)
    assert queries.prover_of(backup) == node, "somebody asks, and nobody else can"
    works(other_node, "mysql")
    assert queries.prover_of(backup) == other_node
    assert proofs_due(every=True) == [(other_node, backup)]
    denied(backup, other_node)
    assert proofs_due(every=True) == []


def test_due_proofs_begin_where_they_are_due(
    backup: Backup, other_node: Node, settings: pytest.FixtureRequest
) -> None:
    settings.HOLDFAST_PROOFS = "every"
    works(other_node, "mysql")
    assert proofs.start_due_proofs() == 1
    job = Job.objects.get(kind="verify")
    assert (job.node, job.active_proof, job.active_site) == (other_node, backup, None)
    assert proofs.start_due_proofs() == 0

"""Rows of a large installation, and the people who look at them: for the bench of the pages.

What exists is added to, so that one database is small first and large afterwards. Everything that
the pages read has its real shape: keys are random, states are mixed, jobs are spread over a year.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

BATCH = 2000
STAGES = ("backup_db", "backup_files", "create_bundle", "upload_remote", "cleanup")
EVENTS = ("queued", "dispatched", "claimed", "stage_done", "ended")
NOW = datetime.now(UTC).replace(microsecond=0)
YEAR_SECONDS = 365 * 86_400
# How the jobs of a site end, one after the other.
ENDINGS = ("failed", "stopped", "reset", *["completed"] * 17)
# Of so many sites that are new in a filling, the first two are being backed up.
ACTIVE_EACH = 30

COPY_STAGES = """
INSERT INTO backups_stage (job_id, name, position, state, task_id, started_at, finished_at,
    bytes_processed, bytes_total, detail, outputs, checkpoint)
SELECT id, '{name}', {position}, 'completed', id, queued_at, queued_at, 1048576, 1048576,
    'Files backed up (1.0 MB)', '{{}}', '{{}}'
FROM backups_job WHERE priority = 1
"""
COPY_EVENTS = """
INSERT INTO backups_jobevent (job_id, epoch, stage, kind, level, message, created_at)
SELECT id, 1, '', '{kind}', 'info', 'What happened to this job, in a sentence', queued_at
FROM backups_job WHERE priority = 1
"""


@dataclass(frozen=True)
class Size:
    """How many rows there are to be."""

    nodes: int
    sites: int
    jobs: int


def fill(size: Size) -> None:
    """Add what is missing to that size."""
    from django.db import connection

    from backups.actions.usage import count_usage
    from backups.models import Backup, Job, Site, Storage

    old_sites = Site.objects.count()
    storages = [
        Storage.objects.get_or_create(
            name=name, defaults={"type": "local", "config": {"path": f"/{name}"}, "is_default": one}
        )[0]
        for name, one in (("folder", True), ("archive", False))
    ]
    _add_nodes(size.nodes)
    _add_sites(size.sites, storages)
    sites = list(Site.objects.order_by("pk").only("pk", "name", "node_id"))
    new = {site.pk for site in sites[old_sites:]}
    jobs = _jobs(sites, new, storages, range(Job.objects.count(), size.jobs))
    for some in _batches(jobs):
        Job.objects.bulk_create(some)
        Backup.objects.bulk_create(_backups(some))
    with connection.cursor() as cursor:
        for position, name in enumerate(STAGES):
            cursor.execute(COPY_STAGES.format(name=name, position=position))
        for kind in EVENTS:
            cursor.execute(COPY_EVENTS.format(kind=kind))
        count_usage(Site.objects.all())
        # It marked what is new.
        Job.objects.filter(priority=1).update(priority=0)
        _settle(cursor, connection.vendor)


def _add_nodes(wanted: int) -> None:
    from backups.models import Node, Worker

    begin = Node.objects.count()
    Node.objects.bulk_create(
        Node(name=f"web-{number:04}", allowed_roots=["/srv"], last_seen_at=NOW)
        for number in range(begin, wanted)
    )
    alive = NOW + timedelta(days=1)
    Worker.objects.bulk_create(
        Worker(
            name=f"{node.name}.1@host", node=node, hostname=node.name, process_id=1, concurrency=2,
            started_at=NOW, last_seen_at=alive,
        )
        for node in Node.objects.order_by("pk")[begin:]
    )  # fmt: skip


def _add_sites(wanted: int, storages: list[Any]) -> None:
    from backups.models import Node, Site

    nodes = list(Node.objects.order_by("pk"))
    Site.objects.bulk_create(
        (
            Site(
                name=f"shop-{number * 7919 % 1_000_003:07}.example.com",
                url=f"https://shop-{number:05}.example.com",
                node=nodes[number % len(nodes)],
                storage=storages[number % 2],
                wp_path=f"/srv/www/customers/{number % 100:02}/shop-{number:05}/public_html",
            )
            for number in range(Site.objects.count(), wanted)
        ),
        batch_size=BATCH,
    )


def _jobs(sites: list[Any], new: set[int], storages: list[Any], numbers: range) -> Iterator[Any]:
    """Jobs of all sites in turn, the newest last; some sites that are new have an active one."""
    from backups.models import Job

    chance = random.Random(4)
    step = YEAR_SECONDS / max(1, len(numbers))
    for turn, number in enumerate(numbers):
        place = number % len(sites)
        site = sites[place]
        queued = NOW - timedelta(seconds=YEAR_SECONDS - step * turn, microseconds=-number)
        is_newest = turn >= len(numbers) - len(sites)
        is_active = is_newest and site.pk in new and place % ACTIVE_EACH < 2
        state = ENDINGS[(number // len(sites) + place) % len(ENDINGS)]
        if is_active:
            state = chance.choice(("queued", "dispatched", "running", "between"))
        yield Job(
            site_id=site.pk,
            active_site_id=site.pk if is_active else None,
            node_id=site.node_id,
            storage=storages[number % 2],
            state=state,
            # A mark: of these the stages are still missing.
            priority=1,
            worker="web.1@host",
            stages_done=5,
            progress=100 if state == "completed" else 40,
            error_message="The disk of the host is full." if state == "failed" else "",
            trigger=chance.choice(("api", "manual", "admin")),
            queued_at=queued,
            started_at=queued,
            finished_at=None if is_active else queued + timedelta(minutes=9),
        )


def _backups(jobs: list[Any]) -> list[Any]:
    from backups.models import Backup

    chance = random.Random(str(jobs[0].pk))
    return [
        Backup(
            site_id=job.site_id,
            job_id=job.pk,
            storage_id=job.storage_id,
            status="SUCCESS" if job.state == "completed" else "FAILED",
            object_key=f"{job.node_id:036}/{job.site_id:036}/shop_{job.queued_at:%Y%m%d_%H%M%S}.tar.zst"
            if job.state == "completed"
            else "",
            size_bytes=chance.randrange(10**6, 10**10) if job.state == "completed" else 0,
            sha256=f"{job.pk.int:064x}",
            verified_by="sha256",
            facts={"tables": 12, "rows": 3456, "files": 7890, "bytes": 123_456_789},
            created_at=job.finished_at,
        )
        for job in jobs
        if job.state in ("completed", "failed")
    ]


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for row in rows:
        some.append(row)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _settle(cursor: Any, vendor: str) -> None:
    """Let the database look through its rows, as it does by itself after a while."""
    if vendor == "mysql":
        names = ["node", "worker", "site", "job", "stage", "backup", "jobevent"]
        cursor.execute("ANALYZE TABLE " + ", ".join(f"backups_{name}" for name in names))
        cursor.fetchall()
    elif vendor == "postgresql":
        cursor.execute("VACUUM ANALYZE")


@dataclass(frozen=True)
class Role:
    """Somebody who looks at pages, and the rows that they look at one by one."""

    name: str
    client: Any
    site: int
    node: int
    job: str
    sites_seen: int
    jobs_seen: int


def people() -> list[Role]:
    """Make one of each role, with what they manage assigned; all may sign in to the admin."""
    from django.contrib.auth.models import Permission
    from django.test import Client

    from backups import queries, roles
    from backups.models import Job, Node, Site
    from panel.accounts.models import User

    nodes = list(Node.objects.order_by("pk")[:31])
    wanted: tuple[tuple[str, Any, list[Any], list[Any]], ...] = (
        ("super admin", roles.Role.SUPER_ADMIN, [], []),
        ("node admin, 1", roles.Role.NODE_ADMIN, nodes[:1], []),
        ("node admin, 30", roles.Role.NODE_ADMIN, nodes[1:], []),
        ("site admin, 3", roles.Role.SITE_ADMIN, [], list(Site.objects.order_by("pk")[:3])),
    )
    permissions = list(Permission.objects.filter(content_type__app_label="backups"))
    found = []
    for name, role, own_nodes, own_sites in wanted:
        email = f"{name.replace(', ', '-').replace(' ', '-')}@example.com"
        user, _ = User.objects.get_or_create(
            email=email,
            defaults={
                "role": role,
                "is_staff": True,
                "is_superuser": role == roles.Role.SUPER_ADMIN,
                "password": "!",
            },
        )
        user.user_permissions.set(permissions)
        for node in own_nodes:
            node.admins.add(user)
        for site in own_sites:
            site.admins.add(user)
        site = own_sites[0] if own_sites else Site.objects.filter(node=(own_nodes or nodes)[0])[0]
        job = Job.objects.filter(site=site).latest("queued_at")
        client = Client()
        client.force_login(user)
        seen = (queries.sites_visible_to(user).count(), queries.jobs_visible_to(user).count())
        found.append(Role(name, client, site.pk, site.node_id, str(job.pk), *seen))
    return found

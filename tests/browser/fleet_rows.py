"""Rows of a believable fleet, in a process with the panel's settings.

Jobs and backups are made past `backups.actions`, since nobody waits 60 days; what those keep right
(usage, follow-up tasks) they count at the end. Jobs older than a week have no stages and no log,
which nobody looks at and which are most of the rows.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.browser.fleet_jobs import Rows, Site, add_history
from tests.browser.fleet_plan import (
    DRAINING,
    MEBIBYTE,
    NODE_ADMIN,
    NODES,
    OFFLINE,
    PEOPLE_PASSWORD,
    RUNS_EVERY,
    SITE_ADMIN,
    STORAGES,
    SitePlan,
    node_name,
    plan_sites,
)
from tests.browser.fleet_proofs import add_proofs, add_restore

BATCH = 2000


def fill(sites: int, nodes: int, days: int) -> None:
    """Fill an installation that has a first user, and perhaps a first node, with so many days."""
    from django.db import transaction

    from backups.models import Backup, Job, JobEvent, Stage

    now = datetime.now(UTC).replace(microsecond=0)
    plans = plan_sites(sites, nodes)
    with transaction.atomic():
        made = list(_add_sites(plans, _add_nodes(nodes, now), now))
        rows = Rows()
        for site in made:
            add_history(rows, site, now, days)
        # In the order in which it happened, as the keys of a real installation are.
        rows.jobs.sort(key=lambda job: job.queued_at)
        rows.backups.sort(key=lambda backup: backup.created_at)
        rows.events.sort(key=lambda event: event.created_at)
        for model, some in (
            (Job, rows.jobs),
            (Backup, rows.backups),
            (Stage, rows.stages),
            (JobEvent, rows.events),
        ):
            model.objects.bulk_create(some, batch_size=BATCH)
        add_proofs(plans, [site.row for site in made], rows.backups)
        add_restore(plans, [site.row for site in made], now)
        _add_people()
        _settle()
        _add_audit(now)


def _add_nodes(number: int, now: datetime) -> list[Any]:
    from backups.models import Node, Worker

    found, chance = [], random.Random(5)
    for place in range(number):
        name = node_name(place)
        label = NODES[place][1] if place < len(NODES) else ""
        seen = now - timedelta(hours=76) if name == OFFLINE else now
        disk = chance.uniform(31, 78) if name != "shop-01" else 91.5
        values = {
            # The same each time, since pictures show it.
            "uuid": uuid.UUID(int=place + 1, version=4),
            "label": label,
            "hostname": f"{name}.internal.example",
            "ip_address": f"10.20.0.{place + 11}",
            "slots": 2 + place % 3,
            "is_draining": name == DRAINING,
            "allowed_roots": ["/var/www"],
            "last_seen_at": seen,
            "cpu_percent": chance.uniform(8, 55),
            "memory_percent": chance.uniform(30, 70),
            "disk_percent": disk,
            "disk_free_bytes": int((100 - disk) * 5 * 1024 * MEBIBYTE),
            "load_average": chance.uniform(0.2, 2.5),
        }
        node, _ = Node.objects.update_or_create(name=name, defaults=values)
        if name != OFFLINE:
            Worker.objects.create(
                node=node,
                name=f"{name}.1@{name}",
                hostname=f"{name}.internal.example",
                process_id=1204 + place,
                concurrency=node.slots,
                started_at=now - timedelta(days=9, hours=place),
                # Whoever wants it to beat runs `fleet.keep_alive`; else it lives for a day.
                last_seen_at=now + timedelta(days=1),
                versions={"python": "3.13.5", "mariadb-dump": "11.8.2", "tar": "1.35"},
            )
        found.append(node)
    return found


def _add_sites(plans: list[SitePlan], nodes: list[Any], now: datetime) -> Iterator[Site]:
    from backups.models import Site as SiteModel
    from backups.models import Storage

    storages = [
        Storage.objects.create(name=name, type=kind, config=config, is_default=name == "offsite")
        for name, kind, config in STORAGES
    ]
    rows = []
    for plan in plans:
        last = now - plan.last_run
        following = None
        if plan.frequency != "manual":
            following = last + timedelta(days=RUNS_EVERY[plan.frequency])
            # What is late is begun when its node is back.
            following = max(following, now + timedelta(minutes=30))
        rows.append(
            SiteModel(
                uuid=uuid.UUID(int=0x5170 << 112 | plan.number, version=4),
                name=plan.name,
                url=f"https://{plan.name}",
                node=nodes[plan.node],
                wp_path=f"/var/www/{plan.name}/public_html",
                storage=storages[plan.storage],
                schedule_frequency=plan.frequency,
                schedule_time=f"{last:%H:%M}",
                next_run_at=following,
                storage_quota_gb=(None, 50, 100)[plan.number % 3],
            )
        )
    SiteModel.objects.bulk_create(rows, batch_size=BATCH)
    for plan, row in zip(plans, rows, strict=True):
        chance = random.Random(plan.number)
        yield Site(plan, row, nodes[plan.node], storages[plan.storage], chance)


def _add_people() -> None:
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Permission

    from backups.models import Node
    from backups.models import Site as SiteModel
    from panel.accounts.models import User

    password = make_password(PEOPLE_PASSWORD)
    User.objects.filter(full_name="").update(full_name="Ada Keller")
    people = (
        (NODE_ADMIN, "Ben Okafor", "node_admin", True),
        ("night-shift@example.com", "Chiara Lund", "node_admin", True),
        (SITE_ADMIN, "Dilan Weber", "site_admin", False),
        ("editor@example.com", "Eva Moreau", "site_admin", False),
    )
    for email, name, role, is_staff in people:
        User.objects.create(
            email=email, full_name=name, role=role, is_staff=is_staff, password=password
        )
    nodes, sites = list(Node.objects.order_by("pk")), SiteModel.objects.order_by("pk")
    of_domain = Permission.objects.filter(content_type__app_label="backups")
    for email, some in ((people[0][0], nodes[:2]), (people[1][0], nodes[2:4])):
        person = User.objects.get(email=email)
        person.user_permissions.set(of_domain)
        person.assigned_nodes.set(some)
    for email, begin in ((people[2][0], 0), (people[3][0], 7)):
        User.objects.get(email=email).assigned_sites.set(sites[begin : begin + 4])


def _settle() -> None:
    """Write what `backups.actions` keeps beside the jobs and backups."""
    from backups.actions.followups import open_tasks_of_failed
    from backups.actions.usage import count_usage
    from backups.models import Job
    from backups.models import Site as SiteModel
    from backups.queries import standing_failures

    count_usage(SiteModel.objects.all())
    for job in standing_failures(Job.objects.all()):
        open_tasks_of_failed(job)


def _add_audit(now: datetime) -> None:
    from backups.models import AuditEntry, Node
    from backups.models import Site as SiteModel
    from panel.accounts.models import User

    chance, people = random.Random(8), list(User.objects.order_by("pk"))
    sites, nodes = list(SiteModel.objects.order_by("pk")[:40]), list(Node.objects.order_by("pk"))
    entries = []
    for number in range(150):
        actor = chance.choice(people)
        site, node = chance.choice(sites), chance.choice(nodes)
        action, kind, what = chance.choice(
            (
                ("sign_in", "user", actor),
                ("backup.start", "site", site),
                ("backup.start", "site", site),
                ("backup.stop", "site", site),
                ("site.schedule", "site", site),
                ("node.scale", "node", node),
                ("backup.reset", "site", site),
            )
        )
        is_refused = action == "backup.reset" and actor.role == "site_admin"
        entries.append(
            AuditEntry(
                created_at=now - timedelta(minutes=31 * (150 - number)),
                actor=actor,
                actor_name=actor.email,
                actor_role=actor.role,
                source=chance.choice(("dashboard", "api", "admin")),
                action=action,
                object_type=kind,
                object_id=str(what.pk),
                object_label=str(what),
                site_id=what.pk if kind == "site" else None,
                node_id=what.pk if kind == "node" else None,
                address=f"192.0.2.{actor.pk + 10}",
                outcome="refused" if is_refused else "success",
                status_code=403 if is_refused else 200,
                detail="Only the node's admins may reset a backup." if is_refused else "",
            )
        )
    AuditEntry.objects.bulk_create(entries)

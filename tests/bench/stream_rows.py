"""Rows for the bench of streams: sites that are being backed up, and many people who watch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

STAGES = ("backup_db", "backup_files", "create_bundle", "upload_remote", "cleanup")
# The site admins among them see each site by an assignment of its own.
PEOPLE = 50
SITE_ADMINS = 20


@dataclass(frozen=True)
class Running:
    """A job, and the row of the stage that it is in."""

    site: int
    stage: int


def make_jobs(number: int) -> list[Running]:
    """Make sites of one node that are all in their second stage."""
    from django.utils import timezone

    from backups.models import Job, Node, Site, Stage, Storage

    node, now = Node.objects.get(), timezone.now()
    storage = Storage.objects.create(name="folder", type="local", config={"path": "/srv"})
    Site.objects.bulk_create(
        Site(name=f"shop-{n:04}.example.com", node=node, storage=storage, wp_path=f"/srv/{n}")
        for n in range(number)
    )
    jobs = Job.objects.bulk_create(
        Job(
            site=site, active_site=site, node=node, storage=storage, state="running",
            worker="web-01.1@host", stages_done=1, progress=25, queued_at=now, started_at=now,
        )
        for site in Site.objects.order_by("pk")
    )  # fmt: skip
    Stage.objects.bulk_create(
        Stage(
            job=job, name=name, position=position, started_at=now if position < 2 else None,
            state=("completed", "running", "pending")[min(position, 2)], bytes_total=10**9,
        )
        for job in jobs
        for position, name in enumerate(STAGES)
    )  # fmt: skip
    rows = Stage.objects.filter(position=1).order_by("job__site")
    return [Running(*row) for row in rows.values_list("job__site", "pk")]


def make_people() -> list[Any]:
    """Make people of each role who may all see every site, and sign in to the admin."""
    from backups.models import Node, Site
    from backups.roles import Role
    from panel.accounts.models import User

    roles = [Role.SITE_ADMIN] * SITE_ADMINS + [Role.NODE_ADMIN] * (PEOPLE - SITE_ADMINS - 1)
    users = User.objects.bulk_create(
        User(email=f"person-{n}@example.com", password="!", role=role, is_staff=True)
        for n, role in enumerate([*roles, Role.SUPER_ADMIN])
    )
    through: Any = Site.admins.through
    sites = list(Site.objects.values_list("pk", flat=True))
    through.objects.bulk_create(
        (through(site_id=site, user=user) for user in users[:SITE_ADMINS] for site in sites),
        batch_size=2000,
    )
    Node.objects.get().admins.set(users[SITE_ADMINS:])
    return list(users)


def sessions_of(users: Sequence[Any], number: int) -> list[str]:
    """Return cookies: a session each, of the users in turn."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    store, found = SessionStore(), []
    for turn in range(number):
        user = users[turn % len(users)]
        found.append(
            Session(
                session_key=store._get_new_session_key(),
                session_data=store.encode(
                    {
                        SESSION_KEY: str(user.pk),
                        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[-1],
                        HASH_SESSION_KEY: user.get_session_auth_hash(),
                    }
                ),
                expire_date=timezone.now() + timedelta(hours=1),
            )
        )
    Session.objects.bulk_create(found)
    return [f"{settings.SESSION_COOKIE_NAME}={one.session_key}" for one in found]


def tickets_of(users: Sequence[Any], number: int) -> list[str]:
    """Return tickets, each of a sign-in of its own, of the users in turn."""
    from django.utils import timezone

    from backups.queries.enrolment import fingerprint
    from panel.accounts.models import SignIn, StreamTicket
    from panel.accounts.sign_ins import TICKET_PREFIX

    now, mark = timezone.now(), time.time_ns()
    in_turn = [users[turn % len(users)] for turn in range(number)]
    sign_ins = SignIn.objects.bulk_create(
        SignIn(user=user, created_at=now, last_used_at=now, refresh_jti=f"{turn:032}")
        for turn, user in enumerate(in_turn)
    )
    tickets = [f"{TICKET_PREFIX}{mark}-{turn}" for turn in range(number)]
    StreamTicket.objects.bulk_create(
        StreamTicket(
            ticket_hash=fingerprint(ticket), user=one.user, sign_in=one, created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        for ticket, one in zip(tickets, sign_ins, strict=True)
    )  # fmt: skip
    return tickets

"""Whether open streams may go on: all of them are looked at together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backups.models import Node, Site
from backups.roles import Role
from panel.accounts import sign_ins
from panel.accounts.models import EndOfSignIn, User
from panel.accounts.stream_access import StreamRight
from panel.dashboard.rights import Viewer, still_allowed

VIEWERS = 12


@pytest.fixture
def sites(db: None) -> list[Site]:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    return [
        Site.objects.create(name=f"s{n}", node=node, wp_path=f"/srv/{n}") for n in range(VIEWERS)
    ]


@pytest.fixture
def viewers(sites: list[Site]) -> list[Viewer]:
    """One of each site, with every role and every way to come in turn."""
    found = []
    for number, site in enumerate(sites):
        role = list(Role)[number % 3]
        user = User.objects.create_user(f"{number}@example.com", role=role, is_staff=True)
        (site.admins if role == Role.SITE_ADMIN else site.node.admins).add(user)
        session, sign_in = "", None
        if number % 2:
            store = SessionStore()
            store.create()
            session = store.session_key or ""
        else:
            begun = sign_ins.begin_sign_in(user=user, jti=f"{number}", address=None, user_agent="")
            sign_in = begun.pk
        right = StreamRight(user, sign_in, user.get_session_auth_hash())
        found.append(Viewer(right, site.pk, session, role, must_be_staff=bool(session)))
    return found


def test_queries_stay_when_many_watch(
    viewers: list[Viewer], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (6, VIEWERS):
        # Sessions, users, sign-ins; sites, who was given them, and who their nodes.
        with django_assert_num_queries(6):
            assert still_allowed(viewers[:number]) == set(viewers[:number])
    with django_assert_num_queries(0):
        assert still_allowed([]) == set()


def _end_session(viewer: Viewer) -> None:
    Session.objects.filter(pk=viewer.session_key).delete()


def _let_session_expire(viewer: Viewer) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Session.objects.filter(pk=viewer.session_key).update(expire_date=past)


def _end_sign_in(viewer: Viewer) -> None:
    sign_ins.end_sign_ins_of(user=viewer.right.user, reason=EndOfSignIn.BY_ADMIN)


def _change_password(viewer: Viewer) -> None:
    User.objects.filter(pk=viewer.right.user.pk).update(password="another")


def _deactivate(viewer: Viewer) -> None:
    User.objects.filter(pk=viewer.right.user.pk).update(is_active=False)


def _delete(viewer: Viewer) -> None:
    User.objects.filter(pk=viewer.right.user.pk).delete()


def _is_no_longer_staff(viewer: Viewer) -> None:
    User.objects.filter(pk=viewer.right.user.pk).update(is_staff=False)


def _take_the_site_away(viewer: Viewer) -> None:
    Site.objects.get(pk=viewer.site_id).admins.clear()


def _take_the_node_away(viewer: Viewer) -> None:
    Node.objects.get().admins.remove(viewer.right.user)


def _demote(viewer: Viewer) -> None:
    User.objects.filter(pk=viewer.right.user.pk).update(role=Role.SITE_ADMIN)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        *((1, change) for change in (_end_session, _let_session_expire, _is_no_longer_staff)),
        *((number, change) for number in (0, 1) for change in (_change_password, _deactivate)),
        *((number, _demote) for number in (0, 1)),
        (0, _end_sign_in),
        (0, _delete),
        (1, _take_the_node_away),
        (2, _take_the_site_away),
    ],
)
def test_nobody_but_who_lost_the_right_is_sent_away(
    number: int, change: Callable[[Viewer], None], viewers: list[Viewer]
) -> None:
    assert viewers[number].right.user.role == list(Role)[number]
    change(viewers[number])
    assert still_allowed(viewers) == {*viewers[:number], *viewers[number + 1 :]}

"""What each role may do on the admin's pages: by the role alone, and with its own rows alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models.functions import Now
from django.test import Client

from backups.models import EnrolmentToken, JobEvent, Site, Worker
from panel.accounts import tokens
from panel.accounts.models import SignIn, User
from tests.access.conftest import World

SUPER, NODE, SITE = "super", "node+", "site+"
# Per model: who sees rows, adds, changes and deletes them.
RIGHTS: dict[str, tuple[set[str], set[str], set[str], set[str]]] = {
    "accounts.signin": ({SUPER, NODE, SITE}, set(), set(), set()),
    "accounts.user": ({SUPER, NODE, SITE}, {SUPER}, {SUPER}, {SUPER}),
    "backups.auditentry": ({SUPER, NODE, SITE}, set(), set(), set()),
    "backups.backup": ({SUPER, NODE, SITE}, set(), set(), set()),
    "backups.enrolmenttoken": ({SUPER, NODE}, set(), set(), set()),
    "backups.followuptask": ({SUPER, NODE, SITE},) * 4,
    "backups.job": ({SUPER, NODE, SITE}, set(), set(), set()),
    "backups.jobevent": ({SUPER, NODE, SITE}, set(), set(), set()),
    "backups.node": ({SUPER, NODE}, {SUPER}, {SUPER, NODE}, {SUPER}),
    "backups.site": ({SUPER, NODE, SITE}, {SUPER, NODE}, {SUPER, NODE, SITE}, {SUPER, NODE}),
    "backups.stage": ({SUPER, NODE, SITE}, set(), set(), set()),
    "backups.storage": ({SUPER},) * 4,
    "backups.worker": ({SUPER, NODE}, set(), set(), set()),
}  # fmt: skip
# Theirs, of the other side: whoever is no super admin reaches none of it.
FOREIGN = ("node", "site", "job", "backup")


def in_admin(user: User) -> Client:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    client = Client()
    client.force_login(User.objects.get(pk=user.pk))
    return client


@pytest.fixture
def staff(world: World) -> dict[str, Client]:
    """A browser of each role, none of whom has a permission of Django's."""
    site = Site.objects.get(pk=world.rows["site_id"])
    times = {"created_at": Now(), "expires_at": Now()}
    EnrolmentToken.objects.create(node=site.node, token_hash="0" * 64, **times)
    beats = {"started_at": Now(), "last_seen_at": Now()}
    Worker.objects.create(node=site.node, name="w", hostname="h", process_id=1, **beats)
    assert not Permission.objects.filter(user__isnull=False).exists()
    assert JobEvent.objects.exists()
    for name in (SUPER, NODE, SITE):
        tokens.issue(world.users[name])
    return {name: in_admin(world.users[name]) for name in (SUPER, NODE, SITE)}


def one_of(label: str, world: World, user: User) -> Any:
    """A row of the model that is the user's own, as far as the world has one."""
    model = next(one for one in admin.site._registry if one._meta.label_lower == label)
    own = {"accounts.user": {"pk": user.pk}, "backups.followuptask": {"user": world.users[SITE]},
           "backups.node": {"pk": world.rows["node_id"]},
           "backups.site": {"pk": world.rows["site_id"]}}  # fmt: skip
    if model is SignIn:
        own[label] = {"user": user}
    if label in ("backups.job", "backups.backup"):
        own[label] = {"site": world.rows["site_id"]}
    if label in ("backups.stage", "backups.jobevent"):
        own[label] = {"job": world.rows["job_id"]}
    return model._default_manager.filter(**own.get(label, {})).first()


def test_every_model_of_the_admin_is_in_the_table() -> None:
    assert {model._meta.label_lower for model in admin.site._registry} == set(RIGHTS)


@pytest.mark.parametrize("label", RIGHTS)
@pytest.mark.parametrize("who", [SUPER, NODE, SITE])
def test_role_decides(who: str, label: str, world: World, staff: dict[str, Client]) -> None:
    seen, added, changed, deleted = RIGHTS[label]
    client, base = staff[who], f"/admin/{label.replace('.', '/')}/"
    assert client.get(base).status_code == (200 if who in seen else 403)
    assert client.get(f"{base}add/").status_code == (200 if who in added else 403)
    if who in seen and label not in ("backups.auditentry", "backups.followuptask"):
        row = one_of(label, world, world.users[who])
        page = client.get(f"{base}{row.pk}/change/")
        assert page.status_code == 200
        assert (b'name="_save"' in page.content) == (who in changed)
        expected = 200 if who in deleted else 403
        assert client.get(f"{base}{row.pk}/delete/").status_code == expected
    listed = client.get("/admin/").content.decode()
    assert (f'href="{base}"' in listed) == (who in seen)


@pytest.mark.parametrize("who", [NODE, SITE])
@pytest.mark.parametrize("kind", FOREIGN)
def test_rows_of_the_other_side_are_out_of_reach(
    kind: str, who: str, world: World, staff: dict[str, Client]
) -> None:
    key = world.foreign[f"{kind}_id"]
    client, base = staff[who], f"/admin/backups/{kind}/"
    for page in ("change", "delete", "history"):
        assert client.get(f"{base}{key}/{page}/").status_code in (302, 403)
    if client.get(base).status_code == 200:
        assert f"{base}{key}/" not in client.get(base).content.decode()


@pytest.mark.parametrize("label", ["backups.site", "backups.node", "accounts.user"])
def test_permissions_of_django_give_nothing(
    label: str, world: World, staff: dict[str, Client]
) -> None:
    user = world.users[SITE]
    user.user_permissions.set(Permission.objects.all())
    User.objects.filter(pk=user.pk).update(is_superuser=True)
    base = f"/admin/{label.replace('.', '/')}/"
    assert staff[SITE].get(f"{base}add/").status_code == 403

"""The page where people sign in, whatever their role, and the way out."""

from __future__ import annotations

import pytest
from django.test import Client

from backups.models import AuditEntry
from panel.accounts.models import User
from tests.panel.conftest import PASSWORD

PAGE = "/sign-in/"


def sign_in(browser: Client, password: str = PASSWORD, next_page: str = "") -> object:
    body = {"username": "ada@example.com", "password": password, "next": next_page}
    return browser.post(PAGE, body)


@pytest.mark.parametrize(
    ("is_staff", "leads_to"), [(True, "/admin/backup-maintenance/"), (False, "/sites/")]
)
def test_somebody_gets_to_their_own_page_when_they_sign_in(
    is_staff: bool, leads_to: str, user: User
) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=is_staff)
    browser = Client()
    assert sign_in(browser)["Location"] == leads_to  # type: ignore[index]
    assert browser.get(leads_to).status_code == 200
    assert browser.get(PAGE)["Location"] == leads_to


def test_somebody_gets_where_they_wanted_to_go(user: User) -> None:
    browser = Client()
    wanted = browser.get("/sites/?state=failing")["Location"]
    assert wanted == "/sign-in/?next=/sites/%3Fstate%3Dfailing"
    assert 'name="next" value="/sites/?state=failing"' in browser.get(wanted).content.decode()
    answer = sign_in(browser, next_page="/sites/?state=failing")
    assert answer["Location"] == "/sites/?state=failing"  # type: ignore[index]


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:x"])
def test_nobody_is_led_elsewhere(elsewhere: str, user: User) -> None:
    assert sign_in(Client(), next_page=elsewhere)["Location"] == "/sites/"  # type: ignore[index]


def test_wrong_password_is_said_and_recorded(user: User) -> None:
    answer = sign_in(Client(), "wrong")
    page = answer.content.decode()  # type: ignore[attr-defined]
    assert 'role="alert"' in page
    assert "wrong" not in page
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.outcome) == ("sign_in", "refused")


def test_sign_out_ends_the_session_and_needs_a_post(user: User) -> None:
    browser = Client()
    sign_in(browser)
    assert browser.get("/sign-out/").status_code == 405
    assert browser.get("/sites/").status_code == 200
    assert browser.post("/sign-out/")["Location"] == PAGE
    assert browser.get("/sites/").status_code == 302
    words = AuditEntry.objects.order_by("pk").values_list("action", "outcome")
    assert list(words) == [("sign_in", "success"), ("sign_out", "success")]


def test_foreign_page_cannot_sign_anybody_out(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.post("/sign-out/").status_code == 403
    assert browser.get("/sites/").status_code == 200

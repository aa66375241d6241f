"""What opens a stream, and when an open one has to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import AccessToken

from panel.accounts import sign_ins, tokens
from panel.accounts.models import EndOfSignIn, SignIn, StreamTicket, User
from panel.accounts.stream_access import (
    may_still_stream,
    still_streaming,
    stream_right,
    user_of_stream,
)


def ticket_of(user: User) -> str:
    """Return a ticket of a new sign-in."""
    tokens.issue(user)
    sign_in = SignIn.objects.latest("created_at")
    return sign_ins.give_stream_ticket(user=user, sign_in_id=sign_in.pk)


def refused(credential: str) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        user_of_stream(credential)
    detail: Any = caught.value.detail
    return str(detail["code"] if isinstance(detail, dict) else detail.code)


def test_ticket_opens_one_stream_when_it_is_fresh(user: User) -> None:
    ticket = ticket_of(user)
    assert ticket.startswith("tkt_")
    assert user_of_stream(ticket) == user
    assert refused(ticket) == "ticket_not_valid"


def test_only_the_hash_of_a_ticket_is_stored(user: User) -> None:
    ticket = ticket_of(user)
    stored = [str(value) for value in StreamTicket.objects.values_list().get()]
    assert not [value for value in stored if ticket.removeprefix("tkt_") in value]


def test_ticket_is_refused_when_it_is_a_minute_old(user: User) -> None:
    ticket = ticket_of(user)
    StreamTicket.objects.update(expires_at=Now())
    assert refused(ticket) == "ticket_not_valid"


def test_ticket_lives_for_a_minute_by_the_databases_clock(user: User) -> None:
    ticket_of(user)
    row = StreamTicket.objects.get()
    assert row.expires_at - row.created_at == timedelta(seconds=60)


@pytest.mark.parametrize("credential", ["", "tkt_", "tkt_unknown", "tkt_" + "x" * 10_000])
def test_ticket_is_refused_when_it_is_unknown(credential: str, user: User) -> None:
    ticket_of(user)
    assert refused(credential) in ("ticket_not_valid", "token_not_valid")


def test_ticket_is_refused_when_its_sign_in_ended_or_its_user_is_disabled(user: User) -> None:
    ended, disabled = ticket_of(user), ticket_of(user)
    SignIn.objects.filter(stream_tickets__isnull=False).update(ended_at=Now())
    assert refused(ended) == "ticket_not_valid"
    SignIn.objects.update(ended_at=None)
    User.objects.update(is_active=False)
    assert refused(disabled) == "ticket_not_valid"


def test_old_tickets_are_forgotten_when_a_new_one_is_given(user: User) -> None:
    ticket_of(user)
    StreamTicket.objects.update(expires_at=Now() - timedelta(seconds=1))
    ticket_of(user)
    assert StreamTicket.objects.count() == 1


def test_access_token_opens_a_stream_more_than_once(user: User) -> None:
    access = tokens.issue(user)["access_token"]
    assert user_of_stream(access) == user_of_stream(access) == user


def test_stream_is_refused_when_the_token_is_no_access_token_of_ours(user: User) -> None:
    body = tokens.issue(user)
    for wrong in (body["refresh_token"], "a.b.c", "é", str(AccessToken.for_user(user))):
        assert refused(wrong) == "token_not_valid", wrong


END: dict[str, Callable[[User], object]] = {
    "the sign-in ended": lambda user: sign_ins.end_sign_ins_of(
        user=user, reason=EndOfSignIn.SIGNED_OUT
    ),
    "the user was deactivated": lambda _user: User.objects.update(is_active=False),
    "the password changed": lambda _user: User.objects.update(password="!"),
    "the user is gone": lambda user: user.delete(),
}


@pytest.mark.parametrize("event", END)
@pytest.mark.parametrize("by", ["ticket", "token", "ticket of a session"])
def test_open_stream_ends_when(event: str, by: str, user: User) -> None:
    if by == "ticket":
        right = stream_right(ticket_of(user))
    elif by == "token":
        right = stream_right(tokens.issue(user)["access_token"])
    else:
        right = stream_right(sign_ins.give_stream_ticket(user=user, sign_in_id=None))
    assert may_still_stream(right)
    END[event](User.objects.get())
    session_knows_no_sign_in = by == "ticket of a session" and event == "the sign-in ended"
    assert may_still_stream(right) is session_knows_no_sign_in


def test_recheck_of_many_costs_two_queries(user: User, django_assert_num_queries: Any) -> None:
    rights = {stream_right(ticket_of(user)) for _ in range(20)}
    with django_assert_num_queries(2):
        assert still_streaming(rights) == dict.fromkeys(rights, user)
    END["the sign-in ended"](user)
    assert still_streaming(rights) == {}


@pytest.mark.django_db(transaction=True)
def test_one_stream_opens_when_many_show_the_same_ticket_at_once(user: User) -> None:
    ticket = ticket_of(user)
    barrier, won = threading.Barrier(8), []

    def take() -> None:
        barrier.wait()
        try:
            won.append(user_of_stream(ticket))
        except AuthenticationFailed:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert won == [user]

"""Who may open a stream, and for how long: a stream's URL carries a ticket or an access token.

    right = stream_right(credential)      # once, when the stream is opened
    still_streaming(rights)               # from time to time, for all that are open at once

A stream lives on when the access token that opened it expires, since a browser cannot put a new
one into an open stream; it ends when the sign-in does.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from rest_framework.exceptions import AuthenticationFailed

from panel.accounts import sign_ins, tokens
from panel.accounts.models import SignIn, StreamTicket, User


@dataclass(frozen=True, slots=True)
class StreamRight:
    """Who opened a stream, and what it hangs on.

    `sign_in_id` is None if the ticket was asked for in a session of the admin. `password_mark`
    changes with the password.
    """

    user: User
    sign_in_id: uuid.UUID | None
    password_mark: str


def stream_right(credential: str) -> StreamRight:
    """Return who may open a stream with this ticket, which is used up, or this access token.

    Raises `AuthenticationFailed`, with the code `ticket_not_valid` for a ticket and with that of
    any other request for a token, usually `token_not_valid`.
    """
    if credential.startswith(sign_ins.TICKET_PREFIX):
        user, sign_in_id = _taken(sign_ins.take_stream_ticket(credential))
    else:
        user, sign_in_id = tokens.user_of_access_token(credential)
    return StreamRight(user, sign_in_id, user.get_session_auth_hash())


def user_of_stream(credential: str) -> User:
    """Return only the user of `stream_right`; raises the same."""
    return stream_right(credential).user


def may_still_stream(right: StreamRight) -> bool:
    """Return whether an open stream may go on.

    It may not when the sign-in has ended, or the user was deactivated, deleted, or has another
    password. What the user may see is another question, for `queries`.
    """
    return right in still_streaming({right})


def still_streaming(rights: Collection[StreamRight]) -> dict[StreamRight, User]:
    """Return those that hold on, each with its user as they are now: two queries for them all."""
    users = User.objects.filter(is_active=True).in_bulk({right.user.pk for right in rights})
    marks = {pk: user.get_session_auth_hash() for pk, user in users.items()}
    named = {right.sign_in_id for right in rights if right.sign_in_id is not None}
    rows = SignIn.objects.filter(pk__in=named, ended_at=None).values_list("pk", "user")
    going = set(rows if named else ())
    return {
        right: users[right.user.pk]
        for right in rights
        if marks.get(right.user.pk) == right.password_mark
        and (right.sign_in_id is None or (right.sign_in_id, right.user.pk) in going)
    }


def _taken(ticket: StreamTicket | None) -> tuple[User, uuid.UUID | None]:
    sign_in = ticket.sign_in if ticket else None
    is_over = sign_in is not None and sign_in.ended_at is not None
    if ticket is None or is_over or not ticket.user.is_active:
        raise AuthenticationFailed(
            "This ticket is not good: it is unknown, was used, or is older than a minute. Ask for "
            "another one: POST /api/auth/stream-ticket",
            code="ticket_not_valid",
        )
    return ticket.user, ticket.sign_in_id

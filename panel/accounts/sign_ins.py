"""Every write to sign-ins and stream tickets. Times are the database's."""

from __future__ import annotations

import logging
import secrets
import uuid
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from backups.queries.enrolment import fingerprint
from panel.accounts.models import USER_AGENT_CHARACTERS, EndOfSignIn, SignIn, StreamTicket, User

logger = logging.getLogger(__name__)

# Two tabs of one browser may refresh at the same moment: the loser is no thief.
TABS_SECONDS = 10
TICKET_SECONDS = 60
TICKET_PREFIX = "tkt_"
TICKET_BYTES = 32
# How long one can look up what has ended.
REMEMBERED = timedelta(days=30)


def begin_sign_in(*, user: User, jti: str, address: str | None, user_agent: str) -> SignIn:
    """Record that somebody has proven who they are; `jti` numbers their refresh token.

    What is long over for this user is forgotten on the way: nobody else would do it.
    """
    forget_old_sign_ins(user=user)
    return SignIn.objects.create(
        user=user,
        refresh_jti=jti,
        address=address,
        user_agent=user_agent[:USER_AGENT_CHARACTERS],
        created_at=Now(),
        last_used_at=Now(),
    )


def rotate_sign_in(*, sign_in_id: uuid.UUID, jti: str, next_jti: str) -> bool:
    """Replace the refresh token `jti` by the next one; False if it is not the current one.

    One that was replaced before is with two people now, and nobody knows which of them is the
    thief: the sign-in ends for both. The one that was replaced a moment ago is only refused.
    """
    going = SignIn.objects.filter(pk=sign_in_id, ended_at=None)
    if going.filter(refresh_jti=jti).update(
        refresh_jti=next_jti, previous_jti=jti, rotated_at=Now(), last_used_at=Now()
    ):
        return True
    moment = Now() - timedelta(seconds=TABS_SECONDS)
    replayed = ~Q(previous_jti=jti) | Q(rotated_at=None) | Q(rotated_at__lt=moment)
    # The refused UPDATE above shows that `jti` is old; no token becomes current a second time.
    if going.filter(replayed).update(ended_at=Now(), end_reason=EndOfSignIn.REPLAYED):
        logger.warning("sign-in %s ended: an old refresh token was shown again", sign_in_id)
    return False


def end_sign_in(*, user: User, sign_in_id: uuid.UUID, reason: EndOfSignIn) -> bool:
    """End one of the user's sign-ins: its tokens are dead at once. False if it is not going on."""
    going = SignIn.objects.filter(pk=sign_in_id, user=user, ended_at=None)
    return bool(going.update(ended_at=Now(), end_reason=reason))


def end_sign_ins_of(*, user: User, reason: EndOfSignIn) -> int:
    """End all of the user's sign-ins; return how many."""
    going = SignIn.objects.filter(user=user, ended_at=None)
    return going.update(ended_at=Now(), end_reason=reason)


def forget_old_sign_ins(*, user: User | None = None) -> int:
    """Delete what ended or expired a month ago, of one user or of all; return how many rows."""
    life = timedelta(days=settings.HOLDFAST_REFRESH_TOKEN_DAYS)
    over = Q(ended_at__lt=Now() - REMEMBERED) | Q(last_used_at__lt=Now() - REMEMBERED - life)
    rows = SignIn.objects.filter(over)
    return (rows if user is None else rows.filter(user=user)).delete()[0]


def give_stream_ticket(*, user: User, sign_in_id: uuid.UUID | None) -> str:
    """Return a ticket that opens one stream within a minute. It is stored nowhere."""
    StreamTicket.objects.filter(expires_at__lt=Now()).delete()
    ticket = f"{TICKET_PREFIX}{secrets.token_urlsafe(TICKET_BYTES)}"
    StreamTicket.objects.create(
        ticket_hash=fingerprint(ticket),
        user=user,
        sign_in_id=sign_in_id,
        created_at=Now(),
        expires_at=Now() + timedelta(seconds=TICKET_SECONDS),
    )
    return ticket


def take_stream_ticket(ticket: str) -> StreamTicket | None:
    """Return the ticket's row with its user and sign-in; None if it is unknown, old or used.

    Whoever's UPDATE finds it unused has it.
    """
    hashed = fingerprint(ticket)
    good = StreamTicket.objects.filter(ticket_hash=hashed, used_at=None, expires_at__gt=Now())
    if not good.update(used_at=Now()):
        return None
    rows = StreamTicket.objects.select_related("user", "sign_in")
    return rows.filter(ticket_hash=hashed).first()

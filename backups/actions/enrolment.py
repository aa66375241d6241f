"""How a host joins the cluster: a token, good once and for a while, for its settings."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from backups.errors import EnrolmentRefusedError, EnrolmentUnavailableError, NodeDisabledError
from backups.models import EnrolmentToken, Node
from backups.queries.enrolment import fingerprint
from backups.roles import Person

logger = logging.getLogger(__name__)

SECRET_BYTES = 32
# Tells a token from other secrets, to people and to scanners that look for leaked ones, and keeps
# one in 64 from beginning like an option of a command.
TOKEN_PREFIX = "holdfast_join_"  # noqa: S105
LONGEST_VALID_HOURS = 168

# Every host must count with the same ones.
SHARED_SETTINGS = (
    "HOLDFAST_LEASE_SECONDS",
    "HOLDFAST_CLAIM_SECONDS",
    "HOLDFAST_HEARTBEAT_SECONDS",
    "HOLDFAST_KEEP_FAILED_HOURS",
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A token for one host. It is stored nowhere: whoever loses it asks for another one."""

    node: Node
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a host gets for its token; the credential gets it the settings again."""

    node: Node
    settings: dict[str, str]
    credential: str


def invite_host(*, node: Node, valid_hours: float = 1, invited_by: Person | None) -> Invitation:
    """Make a token with which one host can join as the node; ends the node's earlier ones.

    So a token that went astray is made worthless by asking for another one.
    """
    if not node.is_enabled:
        raise NodeDisabledError(f"{node.name} is disabled; enable it first.")
    settings_of_node(node)
    token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(SECRET_BYTES)}"
    with transaction.atomic():
        Node.objects.select_for_update().get(pk=node.pk)
        node.enrolment_tokens.filter(used_at=None, expires_at__gt=Now()).update(expires_at=Now())
        row = EnrolmentToken.objects.create(
            node=node,
            token_hash=fingerprint(token),
            created_by_id=None if invited_by is None else invited_by.pk,
            created_at=Now(),
            expires_at=Now() + timedelta(hours=valid_hours),
        )
    row.refresh_from_db(fields=["expires_at"])
    return Invitation(node, token, row.expires_at)


def enrol_host(*, token: str, hostname: str, address: str | None) -> Enrolment:
    """Take the token and return what the host works with; raises `EnrolmentRefusedError`.

    An earlier host of the node loses its credential. An unknown token, a used one, an expired one
    and one of a disabled node are refused by the same UPDATE, in the same words.
    """
    hashed = fingerprint(token)
    enabled = Node.objects.filter(pk=OuterRef("node_id"), is_enabled=True)
    good = EnrolmentToken.objects.filter(Exists(enabled), used_at=None, expires_at__gt=Now())
    # What is refused further on leaves the token as good as it was.
    with transaction.atomic():
        if not good.filter(token_hash=hashed).update(used_at=Now(), used_from=address):
            raise EnrolmentRefusedError(
                "This token is not good: it is unknown, was used, has expired, or its node is "
                "disabled. On the panel, ask for another one: manage.py node token NAME"
            )
        node = Node.objects.get(enrolment_tokens__token_hash=hashed)
        received = settings_of_node(node)
        credential = secrets.token_urlsafe(SECRET_BYTES)
        Node.objects.filter(pk=node.pk).update(
            credential_hash=fingerprint(credential), hostname=hostname, ip_address=address
        )
    logger.info("host %r at %s joined as node %s", hostname, address, node.name)
    return Enrolment(node, received, credential)


def settings_of_node(node: Node) -> dict[str, str]:
    """Return what a host needs to work as the node; raises `EnrolmentUnavailableError`.

    Without the panel's secret key: a host that is taken over must not sign anybody in.
    """
    urls = {
        "HOLDFAST_DATABASE_URL": settings.HOLDFAST_NODE_DATABASE_URL,
        "HOLDFAST_BROKER_URL": settings.HOLDFAST_NODE_BROKER_URL,
    }
    for name, url in urls.items():
        if not url or url.startswith("sqlite:"):
            own = name.replace("HOLDFAST_", "HOLDFAST_NODE_")
            raise EnrolmentUnavailableError(
                f"Another host cannot reach what this panel's {name} names (a file, or an address "
                f"of this host alone): set {own} to what nodes can reach, and restart the panel."
            )
    return {
        "HOLDFAST_ENVIRONMENT": settings.HOLDFAST_ENVIRONMENT,
        "HOLDFAST_NODE": node.name,
        **urls,
        "HOLDFAST_ENCRYPTION_KEYS": ",".join(settings.HOLDFAST_ENCRYPTION_KEYS),
        **{name: str(getattr(settings, name)) for name in SHARED_SETTINGS},
    }

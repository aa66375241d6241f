"""Signed links: good for one purpose, for a while. What they hold is signed, not hidden."""

from __future__ import annotations

from typing import Any

from django.core import signing

from backups.errors import LinkExpiredError, LinkInvalidError

ANSWER, ANSWER_SECONDS = "answer", 3600
DOWNLOAD = "download"


def sign(purpose: str, payload: dict[str, Any]) -> str:
    """Return a text for a URL that `read` turns back into `payload`."""
    return signing.dumps(payload, salt=_salt(purpose), compress=True)


def read(purpose: str, link: str, *, seconds: int) -> dict[str, Any]:
    """Return what was signed; raises `LinkExpiredError` or `LinkInvalidError`."""
    try:
        payload: dict[str, Any] = signing.loads(link, salt=_salt(purpose), max_age=seconds)
    except signing.SignatureExpired as error:
        raise LinkExpiredError("This link has expired; ask for a new one.") from error
    except signing.BadSignature as error:
        raise LinkInvalidError("There is nothing at this link.") from error
    return payload


def _salt(purpose: str) -> str:
    return f"holdfast.{purpose}"

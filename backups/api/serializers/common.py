"""Shapes and units that several routes share."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from backups.api.serializers.strict import StrictSerializer

GIB = 1 << 30
# Of a BigAutoField; SQLite fails on anything larger.
LARGEST_KEY = 2**63 - 1


def gibibytes(size: int) -> float:
    """Return bytes as GiB, to three decimals."""
    return round(size / GIB, 3)


class ErrorBody(serializers.Serializer[Any]):
    """Every error: a sentence for a person, a word for a program, and what finds it in the log."""

    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()


class PendingBody(serializers.Serializer[Any]):
    """The node has not answered yet; the answer will be at `status_url` for an hour."""

    detail = serializers.CharField()
    code = serializers.CharField()
    status_url = serializers.CharField()


class EmptyBody(StrictSerializer):
    """Nothing needs to be sent: no body, or an object without fields."""


def require_empty(request: Request) -> None:
    """Raise `ValidationError` if the body says something: nothing would come of it."""
    EmptyBody(data=request.data).is_valid(raise_exception=True)

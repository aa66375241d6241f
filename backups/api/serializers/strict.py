"""Bodies that may hold only the fields that are declared: a typing mistake is told, not dropped."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Model
from django.http import QueryDict
from rest_framework import serializers

from backups.api.parsing import GENERAL, unstorable

Row = TypeVar("Row", bound=Model)
# What Django's and DRF's own forms send beside the fields.
OF_FORMS = frozenset({"csrfmiddlewaretoken", "_method", "_content", "_content_type"})

if TYPE_CHECKING:
    _Serializer = serializers.Serializer[Any]
else:
    _Serializer = object


class Strict(_Serializer):
    """Refuses a body with fields that the serializer does not know.

    A declared field that is only read is accepted and left alone, so that a client may send back
    what it got.
    """

    def to_internal_value(self, data: Any) -> Any:  # noqa: ANN401
        """Return the values; raises `ValidationError` that also names each unknown field."""
        unknown = self._unknown(data) if isinstance(data, Mapping) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not unknown or not isinstance(error.detail, dict):
                raise
            raise serializers.ValidationError({**unknown, **error.detail}) from error
        if wrong := {**self._unstorable(values), **unknown}:
            raise serializers.ValidationError(wrong)
        return values

    def _unstorable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Look where DRF does not: a form writes JSON as text, and "nan" is a float to Python."""
        return {
            name: found.get(GENERAL, found)
            for name, field in self.fields.items()
            if isinstance(field, serializers.JSONField | serializers.FloatField)
            and (found := unstorable(values.get(str(field.source))))
        }

    def _unknown(self, data: Mapping[Any, Any]) -> dict[str, list[str]]:
        names = [str(name) for name in data]
        if isinstance(data, QueryDict):
            # Forms write nested fields as `config.path` and `excludes[0]`.
            names = [re.split(r"[.\[]", name)[0] for name in names if name not in OF_FORMS]
        return {name: [self._sentence(name)] for name in names if name not in self.fields}

    def _sentence(self, name: str) -> str:
        allowed = [known for known, field in self.fields.items() if not field.read_only]
        if not allowed:
            return "There is no such field here. Nothing needs to be sent."
        close = difflib.get_close_matches(name, allowed, n=1)
        meant = f"Did you mean {close[0]}? " if close else ""
        return f"There is no such field here. {meant}Allowed: {', '.join(allowed)}."


class StrictSerializer(Strict, serializers.Serializer[Any]):
    """The body of a request."""


class StrictModelSerializer(Strict, serializers.ModelSerializer[Row]):
    """The body of a request that makes or changes a row."""

"""What the list of sites is filtered by: how they stand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from backups.protection import Protection
from backups.states import ACTIVE, OUTSIDE


class Safety(admin.SimpleListFilter):
    """Whether a site could be brought back from a backup that is new enough."""

    title = "safety"
    parameter_name = "protection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the choices."""
        return [(word.value, str(word.label)) for word in Protection]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sites that stand so."""
        return queryset.filter(protection=self.value()) if self.value() else queryset


class NewestState(admin.SimpleListFilter):
    """How the newest job of a site stands, in the words of the API."""

    title = "newest job"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the states."""
        return [(word, word.capitalize()) for word in dict.fromkeys(["idle", *OUTSIDE.values()])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sites whose newest job stands so; sites without any are idle."""
        states = {state.value for state, word in OUTSIDE.items() if word == self.value()}
        if not states:
            return queryset
        if states == ACTIVE:
            # An active job is the newest, and its column has an index.
            return queryset.filter(active_job__isnull=False)
        stands = Q(newest_state__in=sorted(states))
        return queryset.filter(stands | Q(newest_state=None) if self.value() == "idle" else stands)


class Stored(admin.SimpleListFilter):
    """Whether all that is stored of a site is as it was recorded."""

    title = "stored backups"
    parameter_name = "amiss"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the choices."""
        return [("1", "Some not as recorded")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the sites that stand so."""
        return queryset.filter(backups_amiss__gt=0) if self.value() else queryset

"""How the fleet stands: what the dashboard shows besides the jobs that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.core.paginator import Page
from django.db.models.functions import Now
from django.utils import timezone

from backups.admin.base import LongListPaginator
from backups.protection import EXPLAINED, Protection
from backups.queries import (
    failed_proofs,
    is_paused,
    nodes_visible_to,
    nodes_with_standing,
    pause_words,
    protection_counts,
    sites_with_usage,
    standing_failures,
    storages_visible_to,
)
from backups.roles import Person, Role
from panel.dashboard.filters import RUNNING, Scope
from panel.dashboard.words import duration

SITES_PER_PAGE = 50
MOST_FAILURES = 10
MOST_NODES = 100


@dataclass(frozen=True, slots=True)
class Health:
    """One of the three counts at the top, and where it leads."""

    word: str
    label: str
    number: int
    explanation: str
    query: str


def fleet_health(scope: Scope) -> list[Health]:
    """Return how many sites are protected, at risk and failing."""
    counts = protection_counts(scope.sites)
    return [
        Health(
            word.value,
            word.label,
            counts[word.value],
            EXPLAINED[word],
            scope.query(state=word.value),
        )
        for word in Protection
    ]


class SitesPaginator(LongListPaginator):
    """Pages of the sites in a state, whose number is known from the fleet's health."""

    def __init__(self, scope: Scope, health: Sequence[Health]) -> None:
        sites = sites_with_usage(scope.sites_in_state).order_by("name", "pk")
        super().__init__(sites, SITES_PER_PAGE)
        self._scope, self._health = scope, health

    @cached_property
    def count(self) -> int:
        """To count sites by state asks for a job of each of them: once for a page is enough."""
        if self._scope.state == RUNNING:
            return self._scope.sites_in_state.count()
        state = self._scope.state
        return sum(one.number for one in self._health if state in ("", one.word))


def page_of_sites(scope: Scope, number: str, health: Sequence[Health]) -> Page[Any]:
    """Return one page of the sites in the chosen state, by name."""
    page = SitesPaginator(scope, health).get_page(number)
    rows: list[Any] = list(page.object_list)
    failed, now = failed_proofs([row.pk for row in rows]), timezone.now()
    for row in rows:
        row.restores_in = None if row.proven_seconds is None else duration(row.proven_seconds)
        row.proof_failed_at = failed.get(row.pk)
        row.rests = next((pause_words(one) for one in (row, row.node) if is_paused(one, now)), None)
    page.object_list = rows
    return page


def recent_failures(scope: Scope) -> list[Any]:
    """Return the newest failures that still stand, with what a row shows."""
    recent = scope.jobs.filter(queued_at__gte=Now() - timedelta(days=scope.days))
    jobs = standing_failures(recent).select_related("site", "node").defer("site__db_password")
    return list(jobs[:MOST_FAILURES])


def nodes_in(scope: Scope) -> list[Any]:
    """Return the nodes and how they stand, those that do not answer first."""
    nodes = nodes_visible_to(scope.user)
    if scope.node:
        nodes = nodes.filter(pk=scope.node.pk)
    standing = nodes_with_standing(nodes).defer("credential_hash")
    rows, now = list(standing.order_by("is_online", "name")[:MOST_NODES]), timezone.now()
    for row in rows:
        row.rests = pause_words(row) if is_paused(row, now) else None
    return rows


def overview(scope: Scope, page: str) -> dict[str, Any]:
    """Return what changes while somebody looks, in a number of queries that does not grow."""
    health = fleet_health(scope)
    return {
        "scope": scope,
        "health": health,
        "failures": recent_failures(scope),
        "nodes": nodes_in(scope),
        "page": page_of_sites(scope, page, health),
        "has_sites": scope.visible_sites.exists(),
        "needs_storage": _needs_storage(scope.user),
    }


def _needs_storage(user: Person) -> bool:
    """Return whether there is nowhere to put a bundle; site admins choose none."""
    return user.role != Role.SITE_ADMIN and not storages_visible_to(user).exists()

"""The lists that grow for ever: found by job and by site, since to read them all takes seconds."""

from __future__ import annotations

import re
import uuid
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from backups.admin.base import EndlessListPaginator, ReadOnlyAdmin
from backups.models import Job
from backups.queries import jobs_visible_to, sites_visible_to
from backups.roles import Role

# Sites whose rows a search looks at, and jobs whose parts a list shows unless one job is chosen.
MOST_SITES, MOST_JOBS = 100, 200
# What a bundle's file name has behind that of its site.
NAME_TAIL = re.compile(r"_\d{8}_\d{6}\.tar\.zst$")
TRIGGERS = ("admin", "api", "command", "manual", "retry", "schedule")


class Triggers(admin.SimpleListFilter):
    """Filters by what began a job. All that can are known: to ask would mean reading all jobs."""

    title = "trigger"
    parameter_name = "trigger"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return what can begin a job."""
        return [(trigger, trigger) for trigger in TRIGGERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the jobs that it began."""
        return queryset.filter(trigger=self.value()) if self.value() else queryset


class OfSitesAdmin(ReadOnlyAdmin):
    """Searched by job and by site: `job_path` and `site_path` lead to them."""

    job_path: ClassVar[str] = "pk"
    site_path: ClassVar[str] = "site"
    search_help_text = "A job's id, a part of a site's name, or a bundle's file name."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return what belongs to the job of that id, or to sites with the words in their names."""
        words = NAME_TAIL.sub("", search_term.strip()).split()
        if not words:
            return queryset, False
        try:
            return queryset.filter(**{self.job_path: uuid.UUID(search_term.strip())}), False
        except ValueError:
            pass
        user: Any = request.user
        sites = sites_visible_to(user)
        for word in words:
            sites = sites.filter(name__icontains=word)
        keys = list(sites.order_by("name").values_list("pk", flat=True)[: MOST_SITES + 1])
        if len(keys) > MOST_SITES:
            sentence = f"More than {MOST_SITES} sites match; the first ones by name are shown."
            self.message_user(request, sentence, messages.WARNING)
        return queryset.filter(**{f"{self.site_path}__in": keys[:MOST_SITES]}), False


class PartsOfJobsAdmin(OfSitesAdmin):
    """What each job has many of: a list shows that of the newest jobs, or of the one chosen."""

    paginator = EndlessListPaginator
    job_path = "job"
    site_path = "job__site"
    sortable_by = ()
    search_help_text = (
        f"A job's id, or a part of a site's name. Without one, and unless you see all sites, the "
        f"newest {MOST_JOBS} jobs are looked at."
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the order: of one job from its beginning, else newest first."""
        return ("id",) if "job__id__exact" in request.GET else ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return what belongs to what was searched for, or to the newest jobs."""
        user: Any = request.user
        is_chosen = search_term.strip() or "job__id__exact" in request.GET
        # In the order of its key the whole table is read as quickly as a page of it.
        if is_chosen or user.role == Role.SUPER_ADMIN:
            return super().get_search_results(request, queryset, search_term)
        newest: QuerySet[Job] = jobs_visible_to(user).order_by("-queued_at", "-pk")
        keys = list(newest.values_list("pk", flat=True)[:MOST_JOBS])
        return queryset.filter(job__in=keys), False

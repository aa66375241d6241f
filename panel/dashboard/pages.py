"""The pages that people look at: the dashboard, the list of sites, one site."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from backups.models import Site
from backups.queries import (
    failed_proofs,
    may_manage_site,
    nodes_visible_to,
    site_quota,
    sites_visible_to,
    sites_with_protection,
    sites_with_usage,
)
from backups.registry import FILE_ENGINES, STAGE_NAMES
from backups.roles import Person
from panel.accounts.models import User
from panel.dashboard.figures import charts_of
from panel.dashboard.filters import FilterForm, Scope, scope_of
from panel.dashboard.overview import fleet_health, overview, page_of_sites
from panel.dashboard.schedules import retention_choices, schedule_choices, schedule_shown
from panel.dashboard.words import duration
from panel.errors import read_only

# Stands in addresses for the job that a page's script will name.
NO_JOB = uuid.UUID(int=0)

View = Callable[..., HttpResponseBase]


def for_people(view: View) -> View:
    """Let in who is signed in, whatever their role; send others to the sign-in page."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ANN401
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path(), reverse("sign-in"))
        return view(request, *args, **kwargs)

    return never_cache(read_only(checked))


@for_people
def dashboard(request: HttpRequest) -> HttpResponseBase:
    """Show the fleet to staff; others have their list of sites."""
    if not cast(User, request.user).is_staff:
        return redirect("my-sites")
    fleet = _fleet(request)
    charts = _charts(fleet["scope"], request.GET.get("page", ""))
    return _page(request, "panel/dashboard.html", "Dashboard", fleet | charts)


@for_people
def overview_part(request: HttpRequest) -> HttpResponseBase:
    """Return what the dashboard's page puts in place of what it shows, every few seconds.

    Charts come with it when they are asked for, which is less often.
    """
    if not cast(User, request.user).is_staff:
        raise PermissionDenied
    fleet = _fleet(request)
    if "charts" in request.GET:
        fleet["charts"] = charts_of(fleet["scope"])
    return TemplateResponse(request, "panel/overview.html", fleet)


@for_people
def my_sites(request: HttpRequest) -> HttpResponseBase:
    """List the sites that a person may see, with how safe they are."""
    form = FilterForm(request.GET, _person(request))
    scope = scope_of(form, _person(request))
    health = fleet_health(scope)
    context = {
        "form": form,
        "scope": scope,
        "health": health,
        "page": page_of_sites(scope, request.GET.get("page", "1"), health),
        "has_sites": scope.visible_sites.exists(),
        "has_nodes": nodes_visible_to(_person(request)).exists(),
    }
    return _page(request, "panel/sites.html", "Sites", context)


@for_people
def site(request: HttpRequest, site_id: int) -> HttpResponseBase:
    """Show one site: how its backup goes, what there is, and what may be done."""
    user = _person(request)
    found = sites_with_usage(sites_with_protection(sites_visible_to(user))).filter(pk=site_id)
    row: Any = found.first()
    if row is None:
        if Site.objects.filter(pk=site_id).exists():
            raise PermissionDenied
        raise Http404
    may_manage = may_manage_site(user, row)
    context = {
        "site": row,
        "proof_failed_at": failed_proofs([row.pk]).get(row.pk),
        "quota": site_quota(row),
        "restores_in": None if row.proven_seconds is None else duration(row.proven_seconds),
        "schedule": schedule_shown(row),
        **schedule_choices(),
        **retention_choices(),
        "may_manage": may_manage,
        "has_other_sites": sites_visible_to(user).exclude(pk=site_id).exists(),
        "stages": STAGE_NAMES,
        "page_settings": _site_settings(row, may_manage=may_manage),
    }
    return _page(request, "panel/site.html", row.name, context)


def _fleet(request: HttpRequest) -> dict[str, Any]:
    user = _person(request)
    form = FilterForm(request.GET, user)
    scope = scope_of(form, user)
    return {
        "form": form,
        "is_fleet": True,
        "has_nodes": nodes_visible_to(user).exists(),
        **overview(scope, request.GET.get("page", "1")),
    }


def _charts(scope: Scope, page: str) -> dict[str, Any]:
    return {
        "charts": charts_of(scope),
        "page_settings": {
            "overview": reverse("dashboard-overview"),
            "running": reverse("dashboard-running"),
            "runningStream": reverse("dashboard-running-stream"),
            "query": scope.query(page=page),
            "search": scope.search,
            "site": reverse("site-page", args=[0]),
            "stop": reverse("job", args=[NO_JOB]),
        },
    }


def _site_settings(row: Site, *, may_manage: bool) -> dict[str, Any]:
    """Return the addresses that the page's script asks, below whatever prefix the panel has."""
    of_site = {
        name: reverse(route, args=[row.pk])
        for name, route in {
            "status": "backup-status",
            "stream": "backup-stream",
            "start": "backup-start",
            "stop": "backup-stop",
            "reset": "backup-reset",
            "logs": "backup-logs",
            "backups": "site-backups",
            "retention": "site-retention",
            "restore": "site-restore",
            "schedule": "site-schedule",
            "pause": "site-pause",
            "resume": "site-go-on",
        }.items()
    }
    return {
        **of_site,
        "job": reverse("job", args=[NO_JOB]),
        "jobs": reverse("jobs"),
        "retry": reverse("job-retry", args=[NO_JOB]),
        "undo": reverse("job-undo", args=[NO_JOB]),
        "confirm": reverse("job-confirm", args=[NO_JOB]),
        "backup": reverse("backup", args=[0]),
        "tables": reverse("backup-tables", args=[0]),
        "sites": reverse("sites"),
        "site": row.name,
        "siteId": row.pk,
        "hasDatabase": row.db_engine != "none",
        "databaseIsFile": row.db_engine in FILE_ENGINES,
        "mayManage": may_manage,
    }


def _page(request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
    """Return a page in the admin's frame; who is no staff sees no way into the admin."""
    frame: dict[str, Any] = {}
    if cast(User, request.user).is_staff:
        frame = {**admin.site.each_context(request)}
    frame |= {"is_nav_sidebar_enabled": False, "title": title}
    own = {"signIn": reverse("sign-in"), **context.pop("page_settings", {})}
    return TemplateResponse(request, template, {**frame, **context, "page_settings": own})


def _person(request: HttpRequest) -> Person:
    return cast(Person, request.user)

"""The front door: a browser goes to the dashboard, a program gets the addresses."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse

from panel.errors import read_only


@read_only
def home(request: HttpRequest) -> HttpResponseBase:
    """Return name, version and links."""
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        return redirect("dashboard")
    links = {
        "sites": "sites",
        "docs": "docs",
        "schema": "schema",
        "health": "health",
        "metrics": "metrics",
        "admin": "admin:index",
    }
    spectacular = settings.SPECTACULAR_SETTINGS
    body = {
        "name": spectacular["TITLE"],
        "version": spectacular["VERSION"],
        "links": {
            name: request.build_absolute_uri(reverse(route)) for name, route in links.items()
        },
    }
    return JsonResponse(body)

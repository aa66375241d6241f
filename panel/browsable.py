"""DRF's browsable API, so that a day's work can be done in it.

Beside what DRF shows: links from each page to what else can be done with its site, node or job;
a form instead of an error on routes that are only written to; names for all controls; and no inline
styles, which the content security policy refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import reverse
from django.utils.safestring import SafeString
from rest_framework.renderers import BrowsableAPIRenderer, HTMLFormRenderer

Link = tuple[str, str]

# Led to from every page, and from those of one thing: what the link is called, and the route.
EVERYWHERE: tuple[Link, ...] = (
    ("Sites", "sites"), ("Nodes", "nodes"), ("Jobs", "jobs"), ("Storages", "storages"),
    ("Activity", "activity-logs"),
)  # fmt: skip
OF_ONE: dict[str, tuple[Link, ...]] = {
    "site_id": (
        ("Site", "site"), ("Status", "backup-status"), ("Start", "backup-start"),
        ("Stop", "backup-stop"), ("Reset", "backup-reset"), ("Log", "backup-logs"),
        ("Backups", "site-backups"), ("Restore", "site-restore"), ("Retention", "site-retention"),
        ("Schedule", "site-schedule"), ("Pause", "site-pause"), ("Go on", "site-go-on"),
        ("Quota", "quota-status"),
    ),
    "node_id": (("Node", "node"), ("Scale", "node-scale"), ("Drain", "node-drain"),
                ("Resume", "node-resume"), ("Upcoming", "node-upcoming"), ("Pause", "node-pause"),
                ("Go on", "node-go-on")),
    "job_id": (("Job", "job"), ("Retry", "job-retry"), ("Undo", "job-undo"),
               ("Confirm", "job-confirm")),
    "backup_id": (("Backup", "backup"), ("Download", "backup-download"),
                  ("Contents", "backup-contents"), ("Tables", "backup-tables"),
                  ("Prove", "backup-verify"),
                  ("Proofs", "backup-proofs"), ("Pin", "backup-pin")),
}  # fmt: skip
# Lists that lead to their rows: where the rows are in the answer, the route, and what names a row.
ROWS: dict[str, tuple[str, str, str]] = {
    "SiteList": ("sites", "site", "name"),
    "NodeList": ("", "node", "name"),
    "JobList": ("jobs", "job", "id"),
    "SiteBackups": ("backups", "backup", "filename"),
}
# What DRF's pages lack. Content cannot be mistaken for it: quotes and brackets in it are escaped.
MENDED = (
    ('<pre class="prettyprint">', '<pre class="prettyprint" tabindex="0">'),
    ("<html>", '<html lang="en">'),
    (' style="', ' data-style="'),
    ('data-toggle="dropdown" title="', 'data-toggle="dropdown" aria-label="Formats" title="'),
)
WRITTEN_TO = "This is only written to: send the form below."


class LabelledForm(HTMLFormRenderer):
    """DRF's forms with a label that belongs to each control."""

    def render_field(self, field: Any, parent_style: Mapping[str, Any]) -> str:  # noqa: ANN401
        """Return the control."""
        rendered = str(super().render_field(field, parent_style))
        name = re.escape(field.name)
        key = f"field-{field.name}"
        labelled = re.sub("<label ", f'<label for="{key}" ', rendered, count=1)
        named = re.sub(rf'\bname="{name}"', f'id="{key}" name="{field.name}"', labelled, count=1)
        # As safe as it was: only names of our own fields went in.
        return SafeString(named)


class StrictBrowsableAPIRenderer(BrowsableAPIRenderer):
    """DRF's pages, mended; see the module and static/panel/browsable.css."""

    form_renderer_class = LabelledForm

    def render(
        self,
        data: Any,  # noqa: ANN401
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the page."""
        context = renderer_context or {}
        response, request = context["response"], context["request"]
        if request.method == "GET" and response.status_code == 405 and _is_form(context["view"]):
            # Somebody looks for the form, and this page is it.
            data = {"detail": WRITTEN_TO}
            response.status_code = 200
        page: str = super().render(data, accepted_media_type, renderer_context)
        for lacking, mended in MENDED:
            page = page.replace(lacking, mended)
        return page

    def get_context(
        self,
        data: Any,  # noqa: ANN401
        accepted_media_type: str | None,
        renderer_context: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the page's context, in which highlighted code has no style of its own."""
        view = renderer_context["view"]
        context = super().get_context(data, accepted_media_type, renderer_context)
        links = [*_links(EVERYWHERE), *_links_of_one(view)]
        return {**context, "code_style": "", "related": links, "rows": _row_links(view, data)}

    def get_breadcrumbs(self, request: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return where the page is; each address once, which routes have with a slash as well."""
        found = {url.rstrip("/"): (name, url) for name, url in super().get_breadcrumbs(request)}
        return list(found.values())


def _is_form(view: Any) -> bool:  # noqa: ANN401
    return bool({"POST", "PUT"} & set(view.allowed_methods)) and "GET" not in view.allowed_methods


def _links(named: tuple[Link, ...], **arguments: Any) -> list[Link]:  # noqa: ANN401
    return [(name, reverse(route, kwargs=arguments)) for name, route in named]


def _links_of_one(view: Any) -> Iterator[Link]:  # noqa: ANN401
    for argument, named in OF_ONE.items():
        if argument in view.kwargs:
            yield from _links(named, **{argument: view.kwargs[argument]})


def _row_links(view: Any, data: Any) -> list[Link]:  # noqa: ANN401
    place, route, naming = ROWS.get(type(view).__name__, ("", "", ""))
    rows = data.get(place, ()) if isinstance(data, dict) else data
    if not route or not isinstance(rows, list):
        return []
    return [(str(row.get(naming) or row["id"]), reverse(route, args=[row["id"]])) for row in rows]

"""What of the fleet somebody looks at: by node, site, state and time, all in the page's address."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict

from backups.models import Backup, Job, Node, Site
from backups.protection import Protection
from backups.queries import (
    backups_visible_to,
    jobs_visible_to,
    nodes_visible_to,
    sites_visible_to,
    sites_with_protection,
)
from backups.roles import Person, Role

DEFAULT_DAYS = 30
RUNNING = "running"
_DAYS = [(7, "7 days"), (DEFAULT_DAYS, "30 days"), (90, "90 days")]


class FilterForm(forms.Form):
    """The filters as a form; what is left empty filters nothing."""

    node = forms.ModelChoiceField(
        queryset=Node.objects.none(), required=False, empty_label="All nodes"
    )
    site = forms.CharField(
        required=False,
        max_length=190,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "A part of its name"}),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[("", "All states"), *Protection.choices, (RUNNING, "Running now")],
    )
    days = forms.TypedChoiceField(required=False, coerce=int, choices=_DAYS, label="Time")

    def __init__(self, sent: QueryDict, user: Person) -> None:
        self.sent = sent.copy()
        self.sent.setdefault("days", str(DEFAULT_DAYS))
        super().__init__(self.sent)
        node = self.fields["node"]
        assert isinstance(node, forms.ModelChoiceField)
        node.queryset = nodes_visible_to(user).order_by("name")
        if user.role == Role.SITE_ADMIN:
            del self.fields["node"]


@dataclass(frozen=True)
class Scope:
    """What the filters leave of what the user may see; whoever reads rows leaves secrets unread."""

    user: Person
    node: Node | None = None
    search: str = ""
    state: str = ""
    days: int = DEFAULT_DAYS

    @cached_property
    def visible_sites(self) -> QuerySet[Site]:
        """The sites that the user may see, whatever the filters say."""
        return sites_visible_to(self.user)

    @cached_property
    def sites(self) -> QuerySet[Site]:
        """The sites, whatever their state: fleet health counts these."""
        return self.visible_sites.filter(self._on_node("node") & self._named("name"))

    @cached_property
    def sites_in_state(self) -> QuerySet[Any]:
        """The sites in the state that was chosen, with their `protection`."""
        sites = sites_with_protection(self.sites)
        if self.state == RUNNING:
            return sites.filter(active_job__isnull=False)
        return sites.filter(protection=self.state) if self.state else sites

    @cached_property
    def jobs(self) -> QuerySet[Job]:
        """The jobs of the sites."""
        conditions = self._on_node("site__node") & self._named("site__name")
        return jobs_visible_to(self.user).filter(conditions)

    @cached_property
    def backups(self) -> QuerySet[Backup]:
        """The backups of the sites."""
        conditions = self._on_node("site__node") & self._named("site__name")
        return backups_visible_to(self.user).filter(conditions)

    @property
    def cache_key(self) -> str:
        """Names what the charts depend on; a name that was typed is part of it as a hash only."""
        whose = "all" if self.user.role == Role.SUPER_ADMIN else self.user.pk
        node = self.node.pk if self.node else ""
        return f"{whose}:{node}:{self.days}:{hashlib.sha256(self.search.encode()).hexdigest()[:16]}"

    def query(self, **changes: object) -> str:
        """Return the query of the address that shows this, but for the changes."""
        values = {
            "node": self.node.pk if self.node else "",
            "site": self.search,
            "state": self.state,
            "days": self.days if self.days != DEFAULT_DAYS else "",
            **changes,
        }
        return urlencode({name: value for name, value in values.items() if value})

    def _on_node(self, path: str) -> Q:
        return Q(**{path: self.node}) if self.node else Q()

    def _named(self, path: str) -> Q:
        return Q(**{f"{path}__icontains": self.search}) if self.search else Q()


def scope_of(form: FilterForm, user: Person) -> Scope:
    """Return what the form leaves; what it refuses is shown beside its field and not applied."""
    form.is_valid()
    cleaned: dict[str, Any] = form.cleaned_data
    if not cleaned.get("days"):
        # Else the browser would show the first choice, which is another one.
        form.sent["days"] = str(DEFAULT_DAYS)
    return Scope(
        user,
        node=cleaned.get("node"),
        search=cleaned.get("site", "").strip(),
        state=cleaned.get("state", ""),
        days=cleaned.get("days") or DEFAULT_DAYS,
    )

"""Pausing and resuming the schedules of selected sites or nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from backups.actions import pausing
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.shown import NOTHING
from backups.queries import is_paused, pause_words

if TYPE_CHECKING:
    from backups.admin.base import DomainAdmin as _DomainAdmin
else:
    _DomainAdmin = object


class PauseForm(forms.Form):
    """Until when schedules rest, and why."""

    until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In UTC. Empty is until somebody resumes it.",
    )
    reason = forms.CharField(required=False, max_length=pausing.LONGEST_REASON)


class PausesSchedules(_DomainAdmin):
    """For lists of what can be paused: two actions, and a line that says how it stands."""

    @admin.display(description="paused")
    def pause_shown(self, row: Any) -> str:  # noqa: ANN401
        return pause_words(row) if is_paused(row, timezone.now()) else NOTHING

    @admin.action(description="Pause schedules", permissions=["change"])
    def pause_schedules(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> TemplateResponse | None:
        """Ask until when and why, then let the schedules of each rest."""
        form = PauseForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return confirmation(
                self,
                request,
                queryset,
                title="Pause schedules",
                explanation="No backup of these starts by itself until then. Those that run go on, "
                "and whoever starts one by hand gets it.",
                button="Pause them",
                labels=map(str, queryset),
                form=form,
            )

        def act(row: Any) -> str:  # noqa: ANN401
            pausing.pause(row=row, by=str(request.user), **form.cleaned_data)
            return f"Paused {row}: {pause_words(row)}"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Resume schedules", permissions=["change"])
    def resume_schedules(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let the schedules go on; of what was missed, one run of each is made up for."""

        def act(row: Any) -> str:  # noqa: ANN401
            pausing.resume(row=row)
            return f"Resumed {row}: what was missed is made up for once"

        do_each(self, request, queryset, act)

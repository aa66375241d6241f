"""Restoring and proving backups from their list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from backups.actions import proofs, restores
from backups.actions.restores import ALL, COPY, DATABASE, FILES, IN_PLACE, RestoreRequest
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.base import DomainAdmin
from backups.models import Backup


class RestoreForm(forms.Form):
    """What is restored of the selected backups, and where to."""

    what = forms.ChoiceField(
        choices=[(ALL, "Files and database"), (FILES, "Files only"), (DATABASE, "Database only")]
    )
    target = forms.ChoiceField(
        choices=[(IN_PLACE, "In place"), (COPY, "As a copy beside the site")]
    )
    checkpoint = forms.BooleanField(
        required=False,
        initial=True,
        label="Back up what is there now first, so that this can be undone",
    )
    dry_run = forms.BooleanField(required=False, label="Only say what would change")


class RestoresBackups(DomainAdmin):
    """Adds the actions to a list of backups."""

    @admin.action(description="Restore selected backups", permissions=["view"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Backup]) -> TemplateResponse | None:
        """Ask what and where to, then begin a restore of each to the site that it was made of."""
        form = RestoreForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return confirmation(
                self,
                request,
                queryset,
                title="Restore backups",
                explanation="In place, what the site is now is replaced once all is prepared. "
                "Chosen files and tables are restored on the site's page.",
                button="Restore",
                labels=(f"{backup} to {backup.site}" for backup in queryset),
                form=form,
            )
        user: Any = request.user
        wanted = RestoreRequest(**form.cleaned_data)

        def act(backup: Backup) -> str:
            job = restores.start_restore(
                site=backup.site, backup=backup, request=wanted, requested_by=user, trigger="admin"
            )
            return f"The restore of {backup} to {backup.site} is job {job.pk}"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Prove selected backups", permissions=["view"])
    def prove(self, request: HttpRequest, queryset: QuerySet[Backup]) -> TemplateResponse | None:
        """Ask, then begin a trial restore of each."""
        if not is_confirmed(request):
            return confirmation(
                self,
                request,
                queryset,
                title="Prove backups",
                explanation="Each is restored into scratch places, and every file and row compared "
                "with what was recorded. The sites are not touched.",
                button="Prove them",
                labels=map(str, queryset),
            )
        user: Any = request.user

        def act(backup: Backup) -> str:
            job = proofs.start_proof(backup=backup, requested_by=user, trigger="admin")
            return f"The proof of {backup} is job {job.pk}"

        do_each(self, request, queryset, act)
        return None

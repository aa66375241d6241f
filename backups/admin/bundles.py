"""Stored bundles: to read, to fetch, to restore and to keep."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from backups import registry
from backups.actions import pins, trust
from backups.admin.asking import confirmation, do_each, is_confirmed
from backups.admin.base import VisibleNodes
from backups.admin.long_lists import OfSitesAdmin
from backups.admin.restoring import RestoresBackups
from backups.admin.shown import NOTHING, badge, row_link, size
from backups.errors import TrustRefusedError
from backups.models import Backup
from backups.queries import backups_visible_to, may_manage_site


class PinForm(forms.Form):
    """Why the selected backups are kept."""

    note = forms.CharField(required=False, max_length=pins.MOST_CHARACTERS)


@admin.register(Backup)
class BackupAdmin(RestoresBackups, OfSitesAdmin):
    """See the module."""

    list_display = ("created_at", "name", "site_link", "storage", "status_shown", "size",
                    "job_link", "verified_by")  # fmt: skip
    list_filter = ("status", "is_suspect", "storage", ("site__node", VisibleNodes), "created_at")
    search_fields = ("site__name", "job__id")
    sortable_by = ("created_at",)
    job_path = "job"
    fieldsets = (
        (None, {"fields": ("name", "site_link", "status_shown", "size", "created_at", "job_link",
                           "download")}),
        ("Where it is", {"fields": ("storage_name", "address", "encrypted_to_shown")}),
        ("Is it whole", {"fields": ("sha256", "verified_by", "verified_at", "proven_at",
                                    "is_suspect", "checked_at", "check_problem")}),
        ("How long it stays", {"fields": ("pinned_at", "pinned_by", "pin_note", "locked_until",
                                          "removing_since")}),
        ("Inside", {"classes": ("collapse",), "fields": ("backup_type", "facts_shown")}),
    )  # fmt: skip
    actions = ("restore", "prove", "pin", "unpin", "trust")
    first_steps = ("No backup has been made yet. Select sites in their list and back them up.",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backup]:
        """Return the visible backups."""
        user: Any = request.user
        backups = backups_visible_to(user).select_related("site", "storage", "job")
        return backups.defer("site__db_password", "storage__secrets")

    @admin.display(description="address")
    def address(self, backup: Backup) -> str:
        storage = backup.storage
        if not backup.object_key:
            return ""
        return registry.address_of(storage.type, storage.config, backup.object_key)

    @admin.display(description="file")
    def name(self, backup: Backup) -> str:
        return str(backup)

    @admin.display(description="site")
    def site_link(self, backup: Backup) -> str:
        return row_link("site", backup.site_id, backup.site.name)

    @admin.display(description="job")
    def job_link(self, backup: Backup) -> str:
        return row_link("job", backup.job_id, str(backup.job_id)[:8])

    @admin.display(description="storage")
    def storage_name(self, backup: Backup) -> str:
        return str(backup.storage)

    @admin.display(description="status")
    def status_shown(self, backup: Backup) -> SafeString:
        shown = badge(backup.status)
        words = {
            "suspect": backup.is_suspect,
            "not as recorded": bool(backup.check_problem),
            "pinned": backup.pinned_at is not None,
            "being removed": backup.removing_since is not None,
        }
        more = [badge(word, "warning") for word, holds in words.items() if holds]
        return format_html_join(" ", "{}", ((one,) for one in (shown, *more)))

    @admin.display(description="size")
    def size(self, backup: Backup) -> str:
        return size(backup.size_bytes) if backup.object_key else NOTHING

    @admin.display(description="download")
    def download(self, backup: Backup) -> SafeString | str:
        if not backup.object_key:
            return NOTHING
        address = reverse("backup-download", args=[backup.pk])
        return format_html('<a href="{}">Get a link to the bundle</a>, good for a while', address)

    @admin.display(description="encrypted to")
    def encrypted_to_shown(self, backup: Backup) -> str:
        return ", ".join(backup.encrypted_to) or "nobody: it is plain"

    @admin.action(description="Pin selected backups", permissions=["view"])
    def pin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> TemplateResponse | None:
        """Ask for the reason, then keep each of them until somebody takes the pin away."""
        form = PinForm(request.POST if is_confirmed(request) else None)
        if not form.is_valid():
            return confirmation(
                self,
                request,
                queryset,
                title="Pin backups",
                explanation="Retention removes none of these backups until it is unpinned.",
                button="Pin them",
                labels=map(str, queryset),
                form=form,
            )
        user: Any = request.user
        note = form.cleaned_data["note"]

        def act(backup: Backup) -> str:
            pins.pin_backup(backup=backup, by=user, note=note)
            return f"{backup} is pinned"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Unpin selected backups", permissions=["view"])
    def unpin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> TemplateResponse | None:
        """Ask, then let the policy decide again."""
        if not is_confirmed(request):
            return confirmation(
                self,
                request,
                queryset,
                title="Unpin backups",
                explanation="Retention removes these backups as soon as no rule keeps them.",
                button="Unpin them",
                labels=map(str, queryset),
            )
        user: Any = request.user

        def act(backup: Backup) -> str:
            pins.unpin_backup(backup=backup, by=user)
            return f"{backup} is no longer pinned"

        do_each(self, request, queryset, act)
        return None

    @admin.action(description="Trust selected suspect backups", permissions=["view"])
    def trust(self, request: HttpRequest, queryset: QuerySet[Backup]) -> TemplateResponse | None:
        """Ask, then count each as a good one; later ones are held against it."""
        if not is_confirmed(request):
            return confirmation(
                self,
                request,
                queryset,
                title="Trust suspect backups",
                explanation="Each of these holds much less than the one before it. Once it counts "
                "as good, older ones may go for it.",
                button="They are right",
                labels=map(str, queryset),
            )
        user: Any = request.user

        def act(backup: Backup) -> str:
            if not may_manage_site(user, backup.site):
                raise TrustRefusedError("Only an admin of its node may trust a suspect backup.")
            trust.trust_backup(backup=backup)
            return f"{backup} counts as a good one"

        do_each(self, request, queryset, act)
        return None

    @admin.display(description="facts")
    def facts_shown(self, backup: Backup) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(backup.facts, indent=2, sort_keys=True))

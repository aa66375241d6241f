"""Storages. Secrets are written here and never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from backups import registry
from backups.actions import storages
from backups.admin.base import SUPER_ADMINS, DomainAdmin, adopt
from backups.admin.shown import badge, list_link
from backups.errors import with_hint
from backups.models import Storage
from backups.queries import may_manage_storage

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Storage]
else:
    _ModelForm = forms.ModelForm


class StorageForm(_ModelForm):
    """A storage: what may be read, and secrets to add or replace."""

    new_secrets = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text='As JSON: {"secret_access_key": "…"}. Empty keeps what is stored.',
    )

    encryption_recipients = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70, "spellcheck": "false"}),
        help_text="Public keys of age (age1…), one a line: new backups are encrypted to all of "
        "them. Empty for plain backups. Keep the secret keys apart from the nodes.",
    )

    class Meta:
        model = Storage
        fields = ("name", "type", "is_default", "config")

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        if self.instance.pk:
            self.initial["encryption_recipients"] = "\n".join(self.instance.encryption_recipients)

    def clean_encryption_recipients(self) -> list[str]:
        """Return the keys as they are kept."""
        text = self.cleaned_data["encryption_recipients"]
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return registry.checked_recipients(lines)
        except registry.engine_error_class() as error:
            sentence = with_hint(str(error), getattr(error, "hint", ""))
            raise forms.ValidationError(sentence) from error

    def clean_new_secrets(self) -> dict[str, Any]:
        """Return the secrets as an object."""
        text = self.cleaned_data["new_secrets"]
        try:
            secrets = json.loads(text or "{}")
        except ValueError:
            secrets = None
        if not isinstance(secrets, dict):
            raise forms.ValidationError('Give a JSON object, as {"secret_access_key": "…"}.')
        return secrets


@admin.register(Storage)
class StorageAdmin(DomainAdmin):
    """See the module."""

    readers = SUPER_ADMINS
    goes_along = "and the jobs that failed to write to it; a storage with backups stays"
    form = StorageForm
    list_display = ("name", "type", "is_default", "state_shown", "tested_at", "test_error", "lists")
    first_steps = (
        "No storage yet: a bucket or a folder that backups go to. Add one with the button above, "
        "and make it the default, so that sites use it without being told.",
    )
    list_filter = ("type", "is_default")
    search_fields = ("name",)
    readonly_fields = ("secrets_set", "capabilities", "tested_at", "test_error", "created_at")
    fields = (
        "name", "type", "is_default", "config", "new_secrets", "encryption_recipients",
        *readonly_fields,
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Storage]:
        """Return the storages for whoever manages them."""
        user: Any = request.user
        storages_ = super().get_queryset(request).defer("secrets")
        return storages_ if may_manage_storage(user) else storages_.none()

    @admin.display(description="state")
    def state_shown(self, storage: Storage) -> SafeString:
        if storage.tested_at is None:
            return badge("untested", "idle")
        return badge("failing", "failed") if storage.test_error else badge("works", "completed")

    @admin.display(description="lists")
    def lists(self, storage: Storage) -> SafeString:
        return list_link("backup", f"storage__id__exact={storage.pk}", "backups")

    @admin.display(description="secrets stored")
    def secrets_set(self, storage: Storage) -> str:
        return ", ".join(sorted(storage.secrets or {})) or "none"

    def save_model(
        self,
        request: HttpRequest,
        obj: Storage,
        form: forms.ModelForm[Any],
        change: bool,
    ) -> None:
        values = {name: form.cleaned_data[name] for name in ("name", "type", "is_default")}
        values["encryption_recipients"] = form.cleaned_data["encryption_recipients"]
        config = {**(form.cleaned_data["config"] or {}), **form.cleaned_data["new_secrets"]}
        if change:
            storages.change_storage(storage=obj, config=config, **values)
            return
        adopt(obj, storages.create_storage(config=config, **values))

    def delete_model(self, request: HttpRequest, obj: Storage) -> None:
        storages.delete_storage(storage=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Storage]) -> None:
        for storage in queryset:
            storages.delete_storage(storage=storage)

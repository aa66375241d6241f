"""People's to-do lists: everybody their own, a super admin all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from backups.actions import followups
from backups.admin.base import EVERYBODY, DomainAdmin, adopt
from backups.models import FollowUpTask
from backups.models.followup import DESCRIPTION_LENGTH
from backups.queries import follow_up_tasks_visible_to, overdue, task_owners_visible_to

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[FollowUpTask]
else:
    _ModelForm = forms.ModelForm


class TaskForm(_ModelForm):
    """A task; what links it to a job is not changed here."""

    description = forms.CharField(
        required=False, max_length=DESCRIPTION_LENGTH, widget=forms.Textarea
    )
    # One field with one name, where Django's own are two that have none.
    due_at = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In UTC.",
    )
    completed = forms.BooleanField(required=False)

    class Meta:
        model = FollowUpTask
        fields = ("user", "title", "description", "due_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.fields["completed"].initial = self.instance.is_completed


class StandingFilter(admin.SimpleListFilter):
    """Whether it is done, or late."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the choices."""
        return [("open", "Open"), ("overdue", "Overdue"), ("completed", "Completed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the tasks that stand so."""
        if self.value() == "overdue":
            return queryset.filter(overdue())
        if self.value() in ("open", "completed"):
            return queryset.filter(completed_at__isnull=self.value() == "open")
        return queryset


class OriginFilter(admin.SimpleListFilter):
    """Who opened it."""

    title = "origin"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        """Return the choices."""
        return [("backup", "A failed backup"), ("person", "A person")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the tasks that were opened so."""
        if self.value() is None:
            return queryset
        return queryset.filter(failed_job__isnull=self.value() == "person")


@admin.register(FollowUpTask)
class FollowUpTaskAdmin(DomainAdmin):
    """See the module. Everybody who is in the admin has a list."""

    adders = changers = deleters = EVERYBODY

    form = TaskForm
    list_display = ("title", "user", "site", "completed", "due_at", "created_at")
    list_filter = (StandingFilter, OriginFilter)
    search_fields = ("title", "description", "site__name", "user__email")
    readonly_fields = ("site", "backup", "completed_at", "created_at", "updated_at")
    fields = ("user", "title", "description", "due_at", "completed", *readonly_fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[FollowUpTask]:
        """Return the tasks that the user may read and write."""
        user: Any = request.user
        tasks = follow_up_tasks_visible_to(user).select_related("user", "site")
        return tasks.defer("site__db_password")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ANN401
        """Return what nobody edits; a task stays on the list that it was put on."""
        return (*self.readonly_fields, *(("user",) if obj else ()))

    def formfield_for_foreignkey(
        self,
        db_field: ForeignKey[Any],
        request: HttpRequest,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Offer the people whose lists the user may write."""
        user: Any = request.user
        options = {"queryset": task_owners_visible_to(user), "initial": user.pk}
        return super().formfield_for_foreignkey(db_field, request, **{**kwargs, **options})

    @admin.display(boolean=True, ordering="completed_at")
    def completed(self, task: FollowUpTask) -> bool:
        return task.is_completed

    @admin.display(description="job")
    def backup(self, task: FollowUpTask) -> str:
        if task.job_id is None:
            return "-"
        address = reverse("admin:backups_job_change", args=[task.job_id])
        return format_html('<a href="{}">{}</a>', address, task.job_id)

    def save_model(
        self,
        request: HttpRequest,
        obj: FollowUpTask,
        form: forms.ModelForm[Any],
        change: bool,
    ) -> None:
        values = {name: form.cleaned_data[name] for name in TaskForm.Meta.fields[1:]}
        values["completed"] = form.cleaned_data["completed"]
        if change:
            followups.change_task(task=obj, job=obj.job, **values)
            return
        adopt(obj, followups.add_task(user=obj.user, **values))

    def delete_model(self, request: HttpRequest, obj: FollowUpTask) -> None:
        followups.delete_task(task=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[FollowUpTask]) -> None:
        for task in queryset:
            followups.delete_task(task=task)

"""People in the admin: super admins manage them, other staff read what the API gives them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from backups.admin.asking import do_each
from backups.admin.base import DomainAdmin, ReadOnlyAdmin, adopt, changed_values
from backups.queries import may_manage_users, users_visible_to
from panel.accounts import actions, sign_ins
from panel.accounts.actions import Change
from panel.accounts.admin_forms import NewUserForm, PasswordForm, UserForm
from panel.accounts.models import EndOfSignIn, SignIn, User

if TYPE_CHECKING:
    _UserAdmin = DjangoUserAdmin[User]
else:
    _UserAdmin = DjangoUserAdmin

FOR_OTHERS = ("email", "username", "full_name", "role", "is_active", "is_verified")


@admin.register(User)
class UserAdmin(DomainAdmin, _UserAdmin):
    """See the module."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    list_display = ("email", "username", "full_name", "role", "is_active", "is_staff",
                    "last_login")  # fmt: skip
    list_filter = ("role", "is_active", "is_staff")
    search_fields = ("email", "username", "full_name")
    ordering = ("email",)
    readonly_fields = ("last_login", "created_at")
    # Django's own, of groups and permissions.
    filter_horizontal = ()
    goes_along = "with their sign-ins and their follow-up tasks; the audit trail keeps their name"
    fieldsets = (
        (None, {"fields": ("email", "username", "password", "full_name")}),
        ("Rights", {"fields": ("role", "assigned_nodes", "assigned_sites", "is_active",
                               "is_verified", "is_staff")}),
        ("Times", {"fields": ("last_login", "created_at")}),
    )  # fmt: skip
    add_fieldsets = (
        (None, {"fields": ("email", "username", "full_name", "role", "is_staff",
                           "usable_password", "password1", "password2")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Return the visible users."""
        user: Any = request.user
        visible: QuerySet[User] = users_visible_to(user).order_by("email")
        return visible

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ANN401
        """Return all for super admins; for others what the API shows of a user."""
        if _is_super(request):
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": FOR_OTHERS}),)

    def save_model(
        self,
        request: HttpRequest,
        obj: User,
        form: ModelForm[Any],
        change: bool,
    ) -> None:
        """Add or change the user."""
        by: Any = request.user
        values = changed_values(form)
        values.pop("password", None)
        if change:
            row = actions.change_user(user=obj, changed_by=by, **values)
            obj.is_superuser = row.is_superuser
            return
        usable = form.cleaned_data["set_usable_password"]
        password = form.cleaned_data["password1"] if usable else None
        names = ("email", "username", "full_name", "role", "is_staff")
        fields = {name: form.cleaned_data[name] for name in names}
        if not fields["is_staff"]:
            # A box that was not ticked leaves it to the role.
            del fields["is_staff"]
        adopt(obj, actions.add_user(password=password, **fields))

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:  # noqa: ANN401
        """Assign what the form assigns."""
        super().save_related(request, form, formsets, change)
        for kind in actions.Assignable:
            if kind in form.changed_data:
                keys = [row.pk for row in form.cleaned_data[kind]]
                actions.change_assignments(
                    user=form.instance, kind=kind, change=Change.REPLACE, keys=keys
                )

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete the user."""
        by: Any = request.user
        actions.delete_user(user=obj, deleted_by=by)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Delete each, or none if one must stay."""
        with transaction.atomic():
            for user in queryset:
                self.delete_model(request, user)


# Roles decide, which Django's groups know nothing of.
admin.site.unregister(Group)


@admin.register(SignIn)
class SignInAdmin(ReadOnlyAdmin):
    """Who is signed in by token, and who was: super admins see all, others their own."""

    list_display = ("user", "address", "user_agent", "created_at", "last_used_at", "ended_at",
                    "end_reason")  # fmt: skip
    list_filter = ("end_reason", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("user__email", "address")
    exclude = ("refresh_jti", "previous_jti")
    actions = ("end",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SignIn]:
        """Return all for super admins, for others their own."""
        rows = SignIn.objects.select_related("user")
        return rows if _is_super(request) else rows.filter(user=request.user.pk)

    @admin.action(description="End selected sign-ins", permissions=["view"])
    def end(self, request: HttpRequest, queryset: QuerySet[SignIn]) -> None:
        """Let their tokens be dead at once."""

        def act(row: SignIn) -> str:
            reason = EndOfSignIn.BY_ADMIN
            ended = sign_ins.end_sign_in(user=row.user, sign_in_id=row.pk, reason=reason)
            return f"Ended: {row}" if ended else f"Had ended before: {row}"

        do_each(self, request, queryset, act)


def _is_super(request: HttpRequest) -> bool:
    user: Any = request.user
    return may_manage_users(user)

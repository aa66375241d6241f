"""The admin's forms for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth.forms import (
    AdminPasswordChangeForm,
    AdminUserCreationForm,
    UserChangeForm,
)

from backups.models import Node, Site
from panel.accounts import actions
from panel.accounts.models import User

if TYPE_CHECKING:
    _UserChangeForm = UserChangeForm[User]
    _AdminUserCreationForm = AdminUserCreationForm[User]
    _AdminPasswordChangeForm = AdminPasswordChangeForm[User]
else:
    _UserChangeForm = UserChangeForm
    _AdminUserCreationForm = AdminUserCreationForm
    _AdminPasswordChangeForm = AdminPasswordChangeForm


def _choice(model: Any, words: str) -> forms.ModelMultipleChoiceField[Any]:  # noqa: ANN401
    return forms.ModelMultipleChoiceField(
        # The names alone: a site's secrets stay unread.
        queryset=model.objects.only("pk", "name"),
        required=False,
        widget=FilteredSelectMultiple(words, is_stacked=False),
    )


class NewUserForm(_AdminUserCreationForm):
    """A new user. Django's own field for user names cannot be left empty."""

    class Meta:
        model = User
        fields = ("email", "username", "full_name", "role", "is_staff")
        help_texts: ClassVar[dict[str, str]] = {
            "is_staff": "Lets a site admin into the dashboard and the admin, too. Super admins and "
            "node admins are let in anyway."
        }


class UserForm(_UserChangeForm):
    """A user with what is assigned to them."""

    class Meta:
        model = User
        fields = "__all__"  # the page lists them

    assigned_nodes = _choice(Node, "nodes")
    assigned_sites = _choice(Site, "sites")

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        for kind in actions.Assignable:
            if kind in self.fields and self.instance.pk:
                rows = getattr(self.instance, kind).values_list("pk", flat=True)
                self.fields[kind].initial = list(rows)


class PasswordForm(_AdminPasswordChangeForm):
    """Another password for somebody; ends their sign-ins as any other change of it does."""

    user: User

    def save(self, commit: bool = True) -> User:
        """Take the password, or with none the possibility to sign in by one."""
        password = self.cleaned_data["password1"]
        usable = self.cleaned_data["set_usable_password"]
        row = actions.change_user(
            user=self.user, changed_by=None, password=password if usable else None
        )
        self.user.password = row.password
        return row

"""What the domain's admin pages have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from backups.errors import DomainError
from backups.queries import nodes_visible_to, page_of
from backups.roles import Role

# The stubs make these generic; Django's own classes cannot be subscripted when they run.
if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _TabularInline = admin.TabularInline
    _Paginator = Paginator

EVERYBODY = frozenset(Role)
THOSE_WITH_NODES = frozenset({Role.SUPER_ADMIN, Role.NODE_ADMIN})
SUPER_ADMINS = frozenset({Role.SUPER_ADMIN})

# How an action is called in a list says of which rows.
_OF_MANY = re.compile(" selected .*")

# Rows that are counted, and paged through, in lists that have many more.
MOST_COUNTED = 10_000


class LongListPaginator(_Paginator):
    """Reads the rows of a page alone, not those before them."""

    def page(self, number: int | str) -> Page[Any]:
        """Return the page; raises `InvalidPage` for one that is not there."""
        number = self.validate_number(number)
        rows: Any = self.object_list
        begin = (number - 1) * self.per_page
        return Page(page_of(rows, begin, self.per_page, self.count), number, self)


class EndlessListPaginator(LongListPaginator):
    """Counts no further than anybody reads: to count millions of rows takes seconds."""

    @cached_property
    def count(self) -> int:
        """The number of rows, `MOST_COUNTED` if there are more."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


class LongChangeList(ChangeList):
    """Reads a list of one page as it does one of many, in as many queries."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page."""
        super().get_results(request)
        if not self.multi_page:
            self.result_list = self.paginator.page(1).object_list


class VisibleNodes(admin.RelatedFieldListFilter):
    """Filters by node, and names only those that the user may see."""

    def field_choices(
        self,
        field: Any,  # noqa: ANN401
        request: HttpRequest,
        model_admin: Any,  # noqa: ANN401
    ) -> list[tuple[str, Any]]:
        """Return the visible nodes."""
        user: Any = request.user
        return [(str(node.pk), str(node)) for node in nodes_visible_to(user).order_by("name")]


class ByRole(_ModelAdmin):
    """Who may do what follows from the role, as in the API: Django's permissions are not asked.

    Which rows a role has is in `get_queryset`; what it may do with them is said by these sets.
    """

    readers: ClassVar[frozenset[Role]] = EVERYBODY
    adders: ClassVar[frozenset[Role]] = SUPER_ADMINS
    changers: ClassVar[frozenset[Role]] = SUPER_ADMINS
    deleters: ClassVar[frozenset[Role]] = SUPER_ADMINS

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the user's role has such rows."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return whether the user may see the row, or any."""
        return _role(request) in self.readers and (obj is None or self._has(request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add a row."""
        return _role(request) in self.adders

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return whether the user may change the row, or any that they see."""
        return _role(request) in self.changers and self.has_view_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return whether the user may delete the row, or any that they see."""
        return _role(request) in self.deleters and self.has_view_permission(request, obj)

    def _has(self, request: HttpRequest, row: Model) -> bool:
        """Return whether the row is one of the user's; a page asks for the same one often."""
        known: dict[tuple[str, Any], bool] = vars(request).setdefault("rows_of_user", {})
        key = (row._meta.label, row.pk)
        if key not in known:
            known[key] = self.get_queryset(request).filter(pk=row.pk).exists()
        return known[key]


class DomainAdmin(ByRole):
    """Shows what an action refuses as a message, with nothing changed.

    Lists are made for hundreds of thousands of rows: each costs its database a few dozen
    milliseconds, which `tests/bench/scale.py` holds them to.
    """

    list_per_page = 50
    paginator = LongListPaginator
    # What a filter leaves is counted, but not also what there would be without it.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # What is deleted together with a row, in a few words.
    goes_along: ClassVar[str] = ""
    # What to do while there is no row at all: sentences, and commands to type.
    change_list_template = "backups/admin/change_list.html"
    change_form_template = "backups/admin/change_form.html"
    first_steps: ClassVar[tuple[str, ...]] = ()
    first_commands: ClassVar[tuple[str, ...]] = ()

    class Media:
        css = {"all": ["panel/admin.css"]}
        js = ["panel/admin.js"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ANN401
        """Return what reads the lists."""
        return LongChangeList

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> HttpResponse:
        """Show a row's page, with what the list's actions would do to this row."""
        context["row_actions"] = [
            (name, _OF_MANY.sub("", str(action[2])))
            for name, action in self.get_actions(request).items()
            if action and name != "delete_selected"
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def changeform_view(
        self,
        request: HttpRequest,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> HttpResponse:
        """Show a form and take it."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (DomainError, ValidationError) as error:
            return self._refused(request, error)

    def delete_view(
        self,
        request: HttpRequest,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> HttpResponse:
        """Ask, and delete."""
        try:
            return super().delete_view(request, *args, **kwargs)
        except DomainError as error:
            return self._refused(request, error)

    def changelist_view(
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the list and run actions on it."""
        first = {"first_steps": self.first_steps, "first_commands": self.first_commands}
        try:
            return super().changelist_view(request, {**first, **(extra_context or {})})
        except DomainError as error:
            return self._refused(request, error)

    def get_list_display(self, request: HttpRequest) -> Any:  # noqa: ANN401
        """Return the columns; those who have no nodes get no links to them."""
        names = super().get_list_display(request)
        if _role(request) in THOSE_WITH_NODES:
            return names
        return tuple("node" if name == "node_link" else name for name in names)

    def get_deleted_objects(
        self,
        objs: Any,  # noqa: ANN401
        request: HttpRequest,
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Return what the page that asks again names: the rows themselves, and what goes along.

        The action decides whether they may go. Django would read all that hangs on them, and ask
        for permission to delete each line of a log.
        """
        rows: Iterable[Model] = objs
        named: list[Any] = []
        for row in rows:
            named.append(f"{capfirst(self.opts.verbose_name)}: {row}")
            if self.goes_along:
                named.append([self.goes_along])
        count = sum(isinstance(name, str) for name in named)
        kept = {str(self.opts.verbose_name) for row in rows
                if not self.has_delete_permission(request, row)}  # fmt: skip
        return named, {str(self.opts.verbose_name_plural): count}, kept, []

    def _refused(self, request: HttpRequest, error: Exception) -> HttpResponse:
        sentences = error.messages if isinstance(error, ValidationError) else [str(error)]
        self.message_user(request, " ".join(sentences), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(DomainAdmin):
    """Nobody edits by hand what jobs write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return False: the page shows, and takes nothing."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return False."""
        return False


class ReadOnlyInline(_TabularInline):
    """Rows below another row, to read."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return True: whoever sees the row above sees these."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401
        """Return False."""
        return False


def _role(request: HttpRequest) -> str:
    return str(getattr(request.user, "role", ""))


def changed_values(form: ModelForm[Any]) -> dict[str, Any]:
    """Return the columns that a form changed, with their values; no many-to-many ones."""
    columns = {field.name for field in form.instance._meta.concrete_fields}
    return {name: form.cleaned_data[name] for name in form.changed_data if name in columns}


def adopt(row: Model, saved: Model) -> None:
    """Make the form's own row the one that an action has saved: the admin goes on with it."""
    row.pk = saved.pk
    row._state.adding = False

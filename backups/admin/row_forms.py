"""The forms of sites and nodes: what is checked beside its fields before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from backups.actions import schedules, sites
from backups.errors import InvalidFieldError
from backups.models import Site
from backups.registry import FILE_ENGINES

if TYPE_CHECKING:
    _AnyForm = forms.ModelForm[Any]
else:
    _AnyForm = forms.ModelForm


class KeepsWhatIsEmpty(_AnyForm):
    """A form in which some fields, left empty or out, keep what the row has or begins with."""

    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        for name in set(self.kept) & self.fields.keys():
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        """Fill in what was left empty."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.kept:
            if name in cleaned and cleaned[name] in (None, ""):
                cleaned[name] = getattr(self.instance, name)
        return cleaned


class NodeForm(KeepsWhatIsEmpty):
    """A node."""

    kept = ("time_zone", "blackouts")


class SiteForm(KeepsWhatIsEmpty):
    """A site. Its password goes in and never comes out."""

    kept = ("schedule_frequency", "schedule_time", "time_zone", "retention_copies")
    url = forms.URLField(required=False, max_length=500, assume_scheme="https")
    db_password = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Empty keeps the one that is stored.",
    )

    class Meta:
        model = Site
        fields = "__all__"

    def clean(self) -> dict[str, Any]:
        """Check the paths against the node's roots, and the schedule, beside their fields."""
        cleaned = super().clean()
        node = cleaned.get("node")
        is_file = cleaned.get("db_engine") in FILE_ENGINES
        for field in ("wp_path", "wp_config_path", *(["db_name"] if is_file else [])):
            path = cleaned.get(field)
            if node is None or not path:
                continue
            try:
                sites.require_below(path, node.allowed_roots, field=field, node=node)
            except InvalidFieldError as error:
                self.add_error(field, error.message)
        self._clean_schedule(cleaned)
        return cleaned

    def _clean_schedule(self, cleaned: dict[str, Any]) -> None:
        given = {name: cleaned[name] for name in schedules.SCHEDULE_FIELDS if name in cleaned}
        if len(given) < len(schedules.SCHEDULE_FIELDS):
            return  # a field of it is wrong by itself, or not shown
        try:
            cleaned |= schedules.checked_schedule(given)
        except InvalidFieldError as error:
            self.add_error(error.field, error.message)

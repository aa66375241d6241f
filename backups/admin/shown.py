"""How the admin's pages show things to people: states in colours, sizes, times, links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backups.models import BackupStatus, EventLevel
from backups.states import OUTSIDE, JobState, StageState

NOTHING = "-"
# The stylesheet knows idle, running, completed, failed, stopped and warning.
_LOOKS: dict[str, str] = {
    **{state.value: OUTSIDE[state] for state in JobState},
    JobState.QUEUED.value: "idle",
    StageState.PENDING.value: "idle",
    BackupStatus.SUCCESS.value: "completed",
    BackupStatus.FAILED.value: "failed",
    BackupStatus.IN_PROGRESS.value: "running",
    EventLevel.INFO.value: "idle",
    EventLevel.WARNING.value: "warning",
    EventLevel.ERROR.value: "failed",
}


def badge(word: str, look: str = "") -> SafeString:
    """Return the word on the colour of its state, or of another one."""
    chosen = look or _LOOKS.get(word, "idle")
    return format_html('<span class="badge badge-{}">{}</span>', chosen, word)


def size(number: int | None) -> str:
    """Return so many bytes as `1.2 GB`."""
    return NOTHING if number is None else filesizeformat(number)


def duration(began: datetime | None, ended: datetime | None = None) -> str:
    """Return how long it took, or takes until now, in its two largest units: `4 m 10 s`."""
    if began is None:
        return NOTHING
    rest = round(((ended or datetime.now(UTC)) - began).total_seconds())
    if rest < 1:
        return "under 1 s"
    parts: list[str] = []
    for seconds, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        number, rest = divmod(rest, seconds)
        if number or parts:
            parts.append(f"{number} {unit}" if number else "")
    return " ".join(part for part in parts[:2] if part)


def row_link(model: str, key: Any, text: object) -> SafeString | str:  # noqa: ANN401
    """Return a link to the page of one row; `-` for none."""
    if key is None:
        return NOTHING
    address = reverse(f"admin:backups_{model}_change", args=[key])
    return format_html('<a href="{}">{}</a>', address, text)


def list_link(model: str, query: str, text: object) -> SafeString:
    """Return a link to a list, filtered."""
    address = reverse(f"admin:backups_{model}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, query, text)

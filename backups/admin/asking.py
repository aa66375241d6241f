"""What actions on selected rows have in common: asking first, and saying what came of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from backups.admin.base import DomainAdmin
from backups.errors import DomainError

Row = TypeVar("Row", bound=Model)


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the page of `confirmation` was sent, not the list with its checkboxes."""
    return request.POST.get("confirmed") == "yes"


def confirmation(
    page: DomainAdmin,
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    title: str,
    explanation: str,
    button: str,
    labels: Iterable[str],
    form: forms.Form | None = None,
) -> TemplateResponse:
    """Return the page that says what an action does to which rows, and asks for what it needs."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "media": page.media,
        "title": title,
        "explanation": explanation,
        "button": button,
        "rows": list(labels),
        "keys": [str(row.pk) for row in rows],
        "form": form,
        "action": request.POST["action"],
        "checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "backups/admin/confirm.html", context)


def do_each(
    page: DomainAdmin, request: HttpRequest, rows: Iterable[Row], act: Callable[[Row], str]
) -> None:
    """Do it to each row and show the sentence that `act` returns.

    What is refused is said, with the row's name, and holds back nothing else.
    """
    for row in rows:
        try:
            page.message_user(request, act(row), messages.SUCCESS)
        except (DomainError, ValidationError) as error:
            sentences = error.messages if isinstance(error, ValidationError) else [error.message]
            page.message_user(request, f"Not {row}: {' '.join(sentences)}", messages.WARNING)

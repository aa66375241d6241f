"""People's to-do lists in numbers."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now

from backups.models import FollowUpTask

DONE = Q(completed_at__isnull=False)


def overdue() -> Q:
    """Return the condition on tasks that are open though their time has come."""
    return Q(completed_at__isnull=True, due_at__lt=Now())


def tasks_with_state(tasks: QuerySet[FollowUpTask]) -> QuerySet[Any]:
    """Add `completed` to tasks, to order them by it."""
    return tasks.annotate(completed=ExpressionWrapper(DONE, output_field=BooleanField()))


def task_stats(tasks: QuerySet[FollowUpTask]) -> dict[str, Any]:
    """Return `total completed pending overdue completion_rate`, in one query."""
    numbers = tasks.aggregate(
        total=Count("pk"),
        completed=Count("pk", filter=DONE),
        overdue=Count("pk", filter=overdue()),
    )
    total, completed = numbers["total"], numbers["completed"]
    rate = round(completed * 100 / total, 1) if total else 0.0
    return {**numbers, "pending": total - completed, "completion_rate": rate}

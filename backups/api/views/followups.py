"""Follow-up tasks: each person's own to-do list; a super admin reaches anybody's."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import NotFound
from rest_framework.filters import SearchFilter
from rest_framework.generics import GenericAPIView, ListCreateAPIView
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backups.actions import followups
from backups.api.access import person, visible_or_refused
from backups.api.pages import StableOrdering
from backups.api.serializers.common import EmptyBody, ErrorBody
from backups.api.serializers.followups import (
    LONGEST_PAGE,
    TaskQuery,
    TaskSerializer,
    TaskStatsBody,
)
from backups.models import FollowUpTask
from backups.queries import (
    follow_up_tasks_visible_to,
    overdue,
    task_owners_visible_to,
    task_stats,
    tasks_with_state,
)


class TaskPage(LimitOffsetPagination):
    """DRF's own envelope: `count next previous results`."""

    max_limit = LONGEST_PAGE


class TaskOrdering(StableOrdering):
    """Tasks without a due date come last either way, on every database."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> list[Any]:
        """Return the order that was asked for, or the view's own."""
        places = {
            "due_at": F("due_at").asc(nulls_last=True),
            "-due_at": F("due_at").desc(nulls_last=True),
        }
        names = super().get_ordering(request, queryset, view)
        return [places.get(name, name) for name in names]


class TaskView(GenericAPIView[FollowUpTask]):
    """What all routes of a person's tasks need."""

    serializer_class: Any = TaskSerializer
    filter_backends: Any = []
    owner: Any = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Find out whose tasks these are; raises 403 for another person's, 404 for nobody's."""
        super().initial(request, *args, **kwargs)
        self.owner = visible_or_refused(task_owners_visible_to(person(request)), kwargs["user_id"])

    def get_queryset(self) -> QuerySet[Any]:
        """Return that person's tasks; none while the schema is made."""
        if self.owner is None:
            return FollowUpTask.objects.none()
        return follow_up_tasks_visible_to(person(self.request)).filter(user=self.owner)

    def get_object(self) -> FollowUpTask:
        """Return the task; one that is not on this person's list is 404."""
        task: FollowUpTask | None = self.get_queryset().filter(pk=self.kwargs["task_id"]).first()
        if task is None:
            raise NotFound("There is no such task.")
        return task

    def get_serializer_context(self) -> dict[str, Any]:
        """Name the owner to the serializer."""
        return {**super().get_serializer_context(), "owner": self.owner}


@extend_schema_view(get=extend_schema(parameters=[TaskQuery]))
class TaskList(TaskView, ListCreateAPIView[FollowUpTask]):
    """A person's tasks, the newest first unless asked otherwise."""

    pagination_class = TaskPage
    filter_backends = [SearchFilter, TaskOrdering]
    search_fields = ["title", "description"]
    ordering_fields = ["created_at", "due_at", "title", "completed"]
    ordering = ["-created_at", "-pk"]

    def get_queryset(self) -> QuerySet[Any]:
        """Return that person's tasks with what they are ordered by."""
        return tasks_with_state(super().get_queryset())

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the wanted tasks; 400 for a filter that cannot be."""
        query = TaskQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        if wanted["completed"] is not None:
            queryset = queryset.filter(completed_at__isnull=not wanted["completed"])
        if wanted["overdue"] is not None:
            queryset = queryset.filter(overdue() if wanted["overdue"] else ~overdue())
        for name in ("job_id", "site_id"):
            if name in wanted:
                queryset = queryset.filter(**{name: wanted[name]})
        return super().filter_queryset(queryset)


class TaskDetail(TaskView):
    """One task."""

    @extend_schema(responses=TaskSerializer)
    def get(self, request: Request, user_id: int, task_id: int) -> Response:
        """Return the task."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=TaskSerializer, responses={200: TaskSerializer, 400: ErrorBody})
    def put(self, request: Request, user_id: int, task_id: int) -> Response:
        """Replace what the task says; `completed` alone may be left out and stays then."""
        serializer = self.get_serializer(self.get_object(), data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: int, task_id: int) -> Response:
        """Remove the task."""
        followups.delete_task(task=self.get_object())
        return Response(status=204)


class TaskComplete(TaskView):
    """Whether a task is done."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={200: TaskSerializer})
    def patch(self, request: Request, user_id: int, task_id: int) -> Response:
        """Make an open task done, and a done one open."""
        task = followups.toggle_task(task=self.get_object())
        return Response(TaskSerializer(task).data)


class TaskStats(TaskView):
    """A person's tasks in numbers."""

    serializer_class = TaskStatsBody

    @extend_schema(responses=TaskStatsBody)
    def get(self, request: Request, user_id: int) -> Response:
        """Return the numbers."""
        return Response(TaskStatsBody(task_stats(self.get_queryset())).data)

"""Jobs: list, one, stop, try again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import control, operations
from backups.api.access import person, visible_or_refused
from backups.api.pages import JobsPage
from backups.api.serializers.common import LARGEST_KEY, EmptyBody, ErrorBody, require_empty
from backups.api.serializers.jobs import STATUSES, JobSerializer, RetriedBody, StoppedBody
from backups.api.views.control import stopped
from backups.models import Job
from backups.queries import jobs_visible_to
from backups.roles import Person
from backups.states import OUTSIDE, JobKind, JobState

FILTERS = {"status": "state__in", "site_id": "site", "node_id": "node", "kind": "kind"}


class JobQuery(serializers.Serializer[Any]):
    """Which jobs are wanted; `status` is one of the contract's words."""

    status = serializers.ChoiceField(choices=STATUSES, required=False)
    site_id = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_KEY)
    node_id = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_KEY)
    kind = serializers.ChoiceField(choices=[kind.value for kind in JobKind], required=False)

    def validate_status(self, status: str) -> list[JobState]:
        """Return the states that read so outside."""
        return [state for state, word in OUTSIDE.items() if word == status]


def with_names(user: Person) -> QuerySet[Job]:
    """Return the visible jobs with what their fields need."""
    jobs = jobs_visible_to(user).select_related("site__node", "node", "requested_by", "backup")
    return jobs.defer("site__db_password").prefetch_related("stages")


@extend_schema_view(get=extend_schema(parameters=[JobQuery]))
class JobList(ListAPIView[Job]):
    """The jobs of the sites that you may see, newest first."""

    serializer_class = JobSerializer
    pagination_class = JobsPage

    def get_queryset(self) -> QuerySet[Job]:
        """Return the visible jobs that are wanted; 400 for a filter that cannot be."""
        query = JobQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        conditions = {FILTERS[name]: value for name, value in query.validated_data.items()}
        return with_names(person(self.request)).filter(**conditions).order_by("-queued_at", "-pk")


def visible_job(request: Request, job_id: UUID) -> Job:
    """Return the job with what its fields need; raises 403 or 404."""
    return visible_or_refused(with_names(person(request)), job_id)


class JobDetail(RetrieveAPIView[Job]):
    """One job, with its stages."""

    serializer_class = JobSerializer

    def get_object(self) -> Job:
        """Return the job; raises 403 or 404."""
        return visible_job(self.request, self.kwargs["job_id"])

    @extend_schema(responses={202: StoppedBody, 409: ErrorBody})
    def delete(self, request: Request, job_id: UUID) -> Response:
        """Stop the job; it stays in the list.

        It reads `stopped` once its work is removed, within seconds.
        """
        job = control.stop_job(job=self.get_object(), requested_by=person(request))
        return stopped(job)


class JobRetry(GenericAPIView[Any]):
    """Try again what failed or was stopped, as a new job."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={202: RetriedBody, 409: ErrorBody})
    def post(self, request: Request, job_id: UUID) -> Response:
        """Go on from the stage that failed, if the node still has the work of those before it.

        Else, or if the node cannot be asked, the new job begins from the beginning; `message`
        says which and why.
        """
        job = visible_job(request, job_id)
        require_empty(request)
        retried = operations.retry_with_what_is_left(job=job, requested_by=person(request))
        body = {
            "success": True,
            "message": retried.message,
            "status": "running",
            "site_id": retried.job.site_id,
            "job_id": str(retried.job.pk),
            "retry_of": str(job.pk),
            "resumed_from": retried.resumed_from,
        }
        return Response(body, status=202)

"""The streams of the API and of the admin, and what the dashboard's page fetches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import BasePermission, IsAdminUser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import jobs
from backups.api.access import person, visible_or_refused
from backups.api.serializers.common import ErrorBody
from backups.api.serializers.jobs import StatusBody
from backups.api.serializers.strict import StrictSerializer
from backups.api.views.control import visible_site
from backups.models import Job
from backups.queries import job_status, jobs_visible_to
from panel.dashboard.rights import StaffSession, StreamAuthentication, viewer_of
from panel.dashboard.streams import SendsEvents, StreamQuery, stream_of


class BackupStream(SendsEvents, GenericAPIView[Any]):
    """The site's newest job, live."""

    authentication_classes = [StreamAuthentication, SessionAuthentication]
    serializer_class = StatusBody

    @extend_schema(
        parameters=[
            StreamQuery,
            OpenApiParameter("token", str, description="A stream ticket, or an access token."),
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER),
        ],
        responses={
            (200, "text/event-stream"): OpenApiTypes.STR,
            204: OpenApiResponse(description="Last-Event-ID was the last event there will be."),
            400: ErrorBody,
            401: ErrorBody,
            403: ErrorBody,
            404: ErrorBody,
        },
    )
    def get(self, request: Request, site_id: int) -> HttpResponseBase:
        """Send the status object at once, on every change, and at least every `interval` seconds.

        Ends after `completed`, `failed` or `stopped`; with an event named `end` if the right to
        watch is lost.
        """
        site = visible_site(request, site_id)
        return stream_of(request, site.pk, viewer_of(request, site.pk))


class StaffView(GenericAPIView[Any]):
    """A route for the dashboard's page: a staff user's session, JSON alone."""

    authentication_classes = [StaffSession]
    permission_classes: list[type[BasePermission]] = [IsAdminUser]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]

    def job(self, request: Request, job_id: UUID) -> Job:
        """Return the job with what its status needs; raises 403 or 404."""
        visible = jobs_visible_to(person(request)).select_related("site__node", "node")
        jobs_ = visible.defer("site__db_password").prefetch_related("stages")
        return visible_or_refused(jobs_, job_id)


class TriggerBody(StrictSerializer):
    """Which site is to be backed up."""

    site_id = serializers.IntegerField(min_value=0, max_value=2**63 - 1)


@extend_schema(exclude=True)
class Trigger(StaffView):
    """Start a backup from the dashboard."""

    serializer_class = TriggerBody

    def post(self, request: Request) -> Response:
        """Return 202 and the job's id."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        site = visible_site(request, serializer.validated_data["site_id"])
        job = jobs.start_backup(site=site, requested_by=person(request), trigger="admin")
        return Response({"job_id": str(job.pk)}, status=202)


@extend_schema(exclude=True)
class Progress(StaffView):
    """How a job stands."""

    serializer_class = StatusBody

    def get(self, request: Request, job_id: UUID) -> Response:
        """Return the status object of the job."""
        job = self.job(request, job_id)
        return Response(StatusBody(job_status(job.site, job)).data)


@extend_schema(exclude=True)
class ProgressStream(SendsEvents, StaffView):
    """A job, live."""

    serializer_class = StatusBody

    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """Return the stream of the job's status."""
        job = self.job(request, job_id)
        return stream_of(request, job.pk, viewer_of(request, job.site_id, must_be_staff=True))

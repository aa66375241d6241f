"""Starting, stopping and resetting a backup, and how it stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import control, jobs, operations
from backups.api.access import person, require, visible_or_refused
from backups.api.pages import PageQuery
from backups.api.serializers.common import EmptyBody, ErrorBody, require_empty
from backups.api.serializers.jobs import (
    HealthBody,
    LogBody,
    LogLine,
    ResetBody,
    StartedBody,
    StatusBody,
    StoppedBody,
)
from backups.models import Job, Site
from backups.queries import backup_status, log_of, may_manage_site, newest_job, sites_visible_to
from backups.states import ACTIVE, JobKind


def visible_site(request: Request, site_id: int) -> Site:
    """Return the site with its node; raises 403 or 404."""
    sites = sites_visible_to(person(request)).select_related("node").defer("db_password")
    return visible_or_refused(sites, site_id)


class BackupStart(GenericAPIView[Any]):
    """Start a backup of the site now. At most one of a site is active."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={202: StartedBody, 409: ErrorBody})
    def post(self, request: Request, site_id: int) -> Response:
        """Record the job; it runs as soon as the node has a free slot."""
        site = visible_site(request, site_id)
        require_empty(request)
        job = jobs.start_backup(site=site, requested_by=person(request), trigger="api")
        body = {
            "success": True,
            "message": f"Backup started for {site.name}",
            "status": "running",
            "site_id": site.pk,
            "job_id": str(job.pk),
        }
        return Response(body, status=202)


def stopped(job: Job) -> Response:
    """Return the answer to a stop that was asked for."""
    body = {
        "success": True,
        "message": "Backup stop requested",
        "status": "stopped",
        "site_id": job.site_id,
        "job_id": str(job.pk),
    }
    return Response(body, status=202)


class BackupStop(GenericAPIView[Any]):
    """Stop the site's backup."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={202: StoppedBody, 409: ErrorBody})
    def post(self, request: Request, site_id: int) -> Response:
        """Ask the running stage to end itself and to remove its work.

        The job reads `stopped` once that is done, within seconds; asking again is no error until
        then.
        """
        site = visible_site(request, site_id)
        require_empty(request)
        return stopped(control.stop_backup(site=site, requested_by=person(request)))


class BackupReset(GenericAPIView[Any]):
    """Give up the site's backup, whatever it is doing."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={200: ResetBody, 403: ErrorBody})
    def post(self, request: Request, site_id: int) -> Response:
        """Set the site to idle, so that a new backup can start at once, and say what was removed.

        Waits a bounded time for the node. One that is away removes what is left when it returns:
        `cleanup.done` is false then. Nothing to reset is no error.
        """
        site = visible_site(request, site_id)
        allowed = may_manage_site(person(request), site)
        require(allowed, "Only an admin of the node may reset a backup; you may stop it.")
        require_empty(request)
        done = operations.reset_and_wait(site=site, requested_by=person(request))
        report = done.cleanup.report
        cleanup = {
            "done": done.cleanup.done,
            "dirs_removed": report.folders_removed,
            "space_freed_mb": round(report.bytes_freed / operations.MIB, 1),
            "processes_killed": report.processes_killed,
            "uploads_aborted": report.uploads_aborted,
            "objects_deleted": report.objects_deleted,
            "note": done.note,
        }
        body = {
            "success": True,
            "message": done.message,
            "status": "idle",
            "site_id": site.pk,
            "job_id": str(done.job_id) if done.job_id else None,
            "revoked": list(done.revoked),
            "cleanup": cleanup,
        }
        return Response(body)


class BackupStatusView(GenericAPIView[Any]):
    """How the site's newest job stands."""

    serializer_class = StatusBody

    @extend_schema(responses=StatusBody)
    def get(self, request: Request, site_id: int) -> Response:
        """Return the status object."""
        site = visible_site(request, site_id)
        return Response(StatusBody(backup_status(site, newest_job(site))).data)


class LogQuery(PageQuery):
    """Which part of which job's log is wanted; a page of it is long, since lines are short."""

    job_id = serializers.UUIDField(required=False, help_text="Another than the newest.")
    limit = serializers.IntegerField(min_value=1, max_value=10_000, default=1000)


class BackupLogs(GenericAPIView[Any]):
    """What happened during a job, oldest line first."""

    serializer_class = LogBody

    @extend_schema(parameters=[LogQuery], responses=LogBody)
    def get(self, request: Request, site_id: int) -> Response:
        """Return the log of the newest job, or of the one that `job_id` names."""
        site = visible_site(request, site_id)
        query = LogQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        job = self._job(site, query.validated_data.get("job_id"))
        if job is None:
            return Response({"job_id": None, "logs": [], "total": 0})
        lines = log_of(job)
        skip, limit = query.validated_data["skip"], query.validated_data["limit"]
        logs = LogLine(lines[skip : skip + limit], many=True).data
        return Response({"job_id": str(job.pk), "logs": logs, "total": lines.count()})

    def _job(self, site: Site, wanted: UUID | None) -> Job | None:
        if wanted is None:
            return newest_job(site)
        job = Job.objects.filter(site=site, pk=wanted).first()
        if job is None:
            raise NotFound(f"{site.name} has no job {wanted}.")
        return job


class DaemonHealth(GenericAPIView[Any]):
    """Whether the panel can start backups; for anybody."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    serializer_class = HealthBody

    @extend_schema(responses=HealthBody, auth=[])
    def get(self, request: Request) -> Response:
        """Return how many backups are active."""
        running = Job.objects.filter(state__in=ACTIVE, kind=JobKind.BACKUP).count()
        body = {"status": "healthy", "running_backups": running, "timestamp": timezone.now()}
        return Response(HealthBody(body).data)

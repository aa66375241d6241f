"""Putting a backup back, and taking that back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import proofs, restores
from backups.actions.restores import RestoreRequest
from backups.api.access import person, require, visible_or_refused
from backups.api.serializers.common import EmptyBody, ErrorBody, require_empty
from backups.api.serializers.jobs import StartedBody
from backups.api.serializers.restores import (
    ConfirmedBody,
    ProofSerializer,
    RestoreBody,
    RestoreStartedBody,
)
from backups.api.views.backups import with_names
from backups.api.views.control import visible_site
from backups.api.views.jobs import visible_job
from backups.models import Backup, Job, Proof
from backups.queries import may_manage_site


class SiteRestore(GenericAPIView[Any]):
    """Restore a backup to the site."""

    serializer_class = RestoreBody

    @extend_schema(
        request=RestoreBody,
        responses={202: RestoreStartedBody, 400: ErrorBody, 403: ErrorBody, 409: ErrorBody},
    )
    def post(self, request: Request, site_id: int) -> Response:
        """Record the job; in place, a checkpoint of the present state is made before it.

        With `dry_run` nothing is changed: the job's `plan` says what would be. Where a copy goes
        is for admins of the node to choose; for others it is beside the site.
        """
        site = visible_site(request, site_id)
        body = RestoreBody(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = dict(body.validated_data)
        backup = visible_or_refused(with_names(person(request)), wanted.pop("backup_id"))
        chooses = bool(wanted.get("target_path") or wanted.get("target_database"))
        allowed = not chooses or may_manage_site(person(request), site)
        require(allowed, "Only an admin of the node may choose where a copy goes.")
        job = restores.start_restore(
            site=site,
            backup=backup,
            request=RestoreRequest(**wanted),
            requested_by=person(request),
            trigger="api",
        )
        return started(job)


class JobUndo(GenericAPIView[Any]):
    """Take a restore back."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={202: RestoreStartedBody, 409: ErrorBody})
    def post(self, request: Request, job_id: UUID) -> Response:
        """Restore the checkpoint that was made before this job."""
        job = visible_job(request, job_id)
        require_empty(request)
        return started(restores.undo_restore(job=job, requested_by=person(request)))


class JobConfirm(GenericAPIView[Any]):
    """Say that a restore went well."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={200: ConfirmedBody, 409: ErrorBody})
    def post(self, request: Request, job_id: UUID) -> Response:
        """Take the pin from the checkpoint that was made before this job."""
        job = visible_job(request, job_id)
        require_empty(request)
        checkpoint = restores.confirm_restore(job=job, by=person(request))
        message = f"The restore of {job.site.name} is confirmed"
        return Response({"success": True, "message": message, "backup_id": checkpoint.pk})


class BackupVerify(GenericAPIView[Any]):
    """Prove that a backup restores."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={202: StartedBody, 409: ErrorBody})
    def post(self, request: Request, backup_id: int) -> Response:
        """Restore it into scratch places, and compare every file and row with what was recorded."""
        backup = visible_or_refused(with_names(person(request)), backup_id)
        require_empty(request)
        job = proofs.start_proof(backup=backup, requested_by=person(request), trigger="api")
        body = {
            "success": True,
            "message": f"Proof started for {backup.filename}",
            "status": "running",
            "site_id": job.site_id,
            "job_id": str(job.pk),
        }
        return Response(body, status=202)


class BackupProofs(GenericAPIView[Proof]):
    """The receipts of a backup's trial restores, newest first."""

    serializer_class = ProofSerializer
    pagination_class = None

    @extend_schema(responses=ProofSerializer(many=True))
    def get(self, request: Request, backup_id: int) -> Response:
        """Return all of them: there are as many as somebody asked for."""
        backup = visible_or_refused(with_names(person(request)), backup_id)
        rows = backup.proofs.select_related("node")
        return Response(ProofSerializer(rows, many=True).data)


def started(job: Job) -> Response:
    """Return the answer to a restore that was recorded."""
    is_dry = bool(job.parameters.get("dry_run"))
    what = "Dry run of a restore" if is_dry else "Restore"
    other = Backup.objects.filter(uses=job).exclude(site=job.site_id).select_related("site").first()
    whose = f", of a backup of {other.site.name}" if other is not None else ""
    body = {
        "success": True,
        "message": f"{what} started for {job.site.name}{whose}",
        "status": "running",
        "site_id": job.site_id,
        "job_id": str(job.pk),
        "checkpoint_job_id": str(job.waits_for_id) if job.waits_for_id else None,
        "target_path": job.parameters.get("target_path") or None,
        "target_database": job.parameters.get("target_database") or None,
        "warnings": job.warnings,
    }
    return Response(body, status=202)

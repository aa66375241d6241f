"""Every route of the domain below /api/v1/, as the wire contract spells it.

Each is answered with and without a slash at its end, since clients write both and a redirect
would lose a POST's body. The schema shows the contract's spelling only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from backups.api.views import (
    activity,
    backups,
    contents,
    control,
    enrolment,
    jobs,
    links,
    nodes,
    plans,
    restores,
    retention,
    schedules,
    sites,
    storages,
)

Endpoint = tuple[str, str, str, Callable[..., Any]]

_SECOND_SPELLINGS: set[Any] = set()


def both(route: str, view: Callable[..., Any], name: str) -> list[URLPattern]:
    """Return the route as it is spelled, and as it is with or without the slash."""
    other = route.rstrip("/") if route.endswith("/") else f"{route}/"

    def second(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return view(*args, **kwargs)

    second.__dict__.update({**view.__dict__, "route_name": name})
    _SECOND_SPELLINGS.add(second)
    return [path(route, view, name=name), path(other, second)]


def hide_second_spellings(endpoints: list[Endpoint], **_: Any) -> list[Endpoint]:  # noqa: ANN401
    """Leave out of the schema what `both` added (a preprocessing hook of drf-spectacular)."""
    return [endpoint for endpoint in endpoints if endpoint[3] not in _SECOND_SPELLINGS]


ROUTES: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("sites/", sites.SiteList.as_view(), "sites"),
    ("sites/manual", sites.SiteManual.as_view(), "site-manual"),
    ("sites/<int:site_id>", sites.SiteDetail.as_view(), "site"),
    ("sites/<int:site_id>/backup/start", control.BackupStart.as_view(), "backup-start"),
    ("sites/<int:site_id>/backup/stop", control.BackupStop.as_view(), "backup-stop"),
    ("sites/<int:site_id>/backup/status", control.BackupStatusView.as_view(), "backup-status"),
    ("sites/<int:site_id>/backup/logs", control.BackupLogs.as_view(), "backup-logs"),
    ("sites/<int:site_id>/restore", restores.SiteRestore.as_view(), "site-restore"),
    ("sites/<int:site_id>/backups", backups.SiteBackups.as_view(), "site-backups"),
    ("sites/<int:site_id>/retention", retention.SiteRetention.as_view(), "site-retention"),
    ("sites/<int:site_id>/schedule", schedules.SiteSchedule.as_view(), "site-schedule"),
    ("sites/<int:site_id>/schedule/pause", schedules.SitePause.as_view(), "site-pause"),
    ("sites/<int:site_id>/schedule/resume", schedules.SiteGoOn.as_view(), "site-go-on"),
    ("sites/<int:site_id>/quota", plans.SiteQuota.as_view(), "site-quota"),
    ("sites/<int:site_id>/quota/status", plans.SiteQuotaStatus.as_view(), "quota-status"),
    ("sites/<int:site_id>/quota/check", plans.SiteQuotaCheck.as_view(), "quota-check"),
    ("backups/<int:backup_id>", backups.BackupDetail.as_view(), "backup"),
    ("backups/<int:backup_id>/download", backups.BackupDownload.as_view(), "backup-download"),
    ("backups/<int:backup_id>/contents", contents.BackupContents.as_view(), "backup-contents"),
    ("backups/<int:backup_id>/tables", contents.BackupTables.as_view(), "backup-tables"),
    ("backups/<int:backup_id>/file", contents.BackupFile.as_view(), "backup-file"),
    ("backups/<int:backup_id>/verify", restores.BackupVerify.as_view(), "backup-verify"),
    ("backups/<int:backup_id>/proofs", restores.BackupProofs.as_view(), "backup-proofs"),
    ("backups/<int:backup_id>/pin", retention.BackupPin.as_view(), "backup-pin"),
    ("backups/<int:backup_id>/trust", retention.BackupTrust.as_view(), "backup-trust"),
    ("downloads/<str:link>", links.download, "download"),
    ("jobs", jobs.JobList.as_view(), "jobs"),
    ("jobs/<uuid:job_id>", jobs.JobDetail.as_view(), "job"),
    ("jobs/<uuid:job_id>/retry", jobs.JobRetry.as_view(), "job-retry"),
    ("jobs/<uuid:job_id>/undo", restores.JobUndo.as_view(), "job-undo"),
    ("jobs/<uuid:job_id>/confirm", restores.JobConfirm.as_view(), "job-confirm"),
    ("nodes/", nodes.NodeList.as_view(), "nodes"),
    ("nodes/join", enrolment.NodeJoin.as_view(), "node-join"),
    ("nodes/self", enrolment.NodeSelf.as_view(), "node-self"),
    ("nodes/<int:node_id>", nodes.NodeDetail.as_view(), "node"),
    ("nodes/<int:node_id>/token", enrolment.NodeToken.as_view(), "node-token"),
    ("nodes/<int:node_id>/scale", nodes.NodeScale.as_view(), "node-scale"),
    ("nodes/<int:node_id>/drain", nodes.NodeDrain.as_view(), "node-drain"),
    ("nodes/<int:node_id>/resume", nodes.NodeResume.as_view(), "node-resume"),
    ("nodes/<int:node_id>/upcoming", schedules.NodeUpcoming.as_view(), "node-upcoming"),
    ("nodes/<int:node_id>/schedule/pause", schedules.NodePause.as_view(), "node-pause"),
    ("nodes/<int:node_id>/schedule/resume", schedules.NodeGoOn.as_view(), "node-go-on"),
    ("storage/summary", storages.StorageSummary.as_view(), "storage-summary"),
    ("storage/providers", storages.StorageList.as_view(), "storages"),
    ("storage/providers/<int:storage_id>", storages.StorageDetail.as_view(), "storage"),
    ("storage/providers/<int:storage_id>/test", storages.StorageTest.as_view(), "storage-test"),
    ("activity-logs/", activity.ActivityLog.as_view(), "activity-logs"),
    ("activity-logs/me", activity.OwnActivityLog.as_view(), "activity-logs-me"),
    ("daemon/health", control.DaemonHealth.as_view(), "daemon-health"),
    ("daemon/scan", sites.NodeScan.as_view(), "scan"),
    ("daemon/backup/status/<int:site_id>", control.BackupStatusView.as_view(), "daemon-status"),
    ("daemon/backup/reset/<int:site_id>", control.BackupReset.as_view(), "backup-reset"),
    ("daemon/answers/<str:link>", links.LateAnswer.as_view(), "answer"),
)

urlpatterns = [pattern for route in ROUTES for pattern in both(*route)]

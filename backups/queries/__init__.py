"""Every question to the domain's rows: who may see what, and how things stand."""

from backups.queries.standing import (
    live_workers,
    log_of,
    newest_job,
    nodes_open_for_stages,
    nodes_with_live_workers,
    nodes_with_standing,
    sites_with_usage,
    worker_silence,
)
from backups.queries.status import backup_status, job_status
from backups.queries.stored import node_of_backup, node_that_reaches, storage_usage
from backups.queries.visibility import (
    backups_visible_to,
    jobs_visible_to,
    may_invite_hosts,
    may_manage_site,
    may_manage_storage,
    may_manage_users,
    nodes_visible_to,
    sites_visible_to,
    storages_visible_to,
    users_visible_to,
)
from backups.queries.work import (
    RunningAttempt,
    keys_in_use,
    oldest_active_job,
    owners_of,
    running_attempts,
    storages_used_by,
)

__all__ = [
    "RunningAttempt",
    "backup_status",
    "backups_visible_to",
    "job_status",
    "jobs_visible_to",
    "keys_in_use",
    "live_workers",
    "log_of",
    "may_invite_hosts",
    "may_manage_site",
    "may_manage_storage",
    "may_manage_users",
    "newest_job",
    "node_of_backup",
    "node_that_reaches",
    "nodes_open_for_stages",
    "nodes_visible_to",
    "nodes_with_live_workers",
    "nodes_with_standing",
    "oldest_active_job",
    "owners_of",
    "running_attempts",
    "sites_visible_to",
    "sites_with_usage",
    "storage_usage",
    "storages_used_by",
    "storages_visible_to",
    "users_visible_to",
    "worker_silence",
]

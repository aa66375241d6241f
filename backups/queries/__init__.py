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
from backups.queries.status import backup_status
from backups.queries.stored import node_of_backup, node_that_reaches, storage_usage
from backups.queries.visibility import (
    backups_visible_to,
    jobs_visible_to,
    may_manage_site,
    may_manage_storage,
    nodes_visible_to,
    sites_visible_to,
    storages_visible_to,
)

__all__ = [
    "backup_status",
    "backups_visible_to",
    "jobs_visible_to",
    "live_workers",
    "log_of",
    "may_manage_site",
    "may_manage_storage",
    "newest_job",
    "node_of_backup",
    "node_that_reaches",
    "nodes_open_for_stages",
    "nodes_visible_to",
    "nodes_with_live_workers",
    "nodes_with_standing",
    "sites_visible_to",
    "sites_with_usage",
    "storage_usage",
    "storages_visible_to",
    "worker_silence",
]

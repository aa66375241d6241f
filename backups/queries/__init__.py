"""Every question to the domain's rows: who may see what, and how things stand."""

from backups.queries.audit import AuditedObject, audited_object, audited_objects
from backups.queries.followups import overdue, task_stats, tasks_with_state
from backups.queries.pages import page_of
from backups.queries.proofs import backups_to_prove
from backups.queries.protection import (
    protection_counts,
    sites_with_protection,
    standing_failures,
)
from backups.queries.quotas import node_quota, site_quota
from backups.queries.schedules import sites_due
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
from backups.queries.stored import (
    node_of_backup,
    node_that_reaches,
    storage_usage,
    usage_by_storage,
)
from backups.queries.visibility import (
    audit_entries_visible_to,
    backups_visible_to,
    events_visible_to,
    follow_up_tasks_visible_to,
    jobs_visible_to,
    may_invite_hosts,
    may_manage_site,
    may_manage_storage,
    may_manage_users,
    nodes_visible_to,
    responsible_for,
    sites_visible_to,
    stages_visible_to,
    storages_visible_to,
    task_owners_visible_to,
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
    "AuditedObject",
    "RunningAttempt",
    "audit_entries_visible_to",
    "audited_object",
    "audited_objects",
    "backup_status",
    "backups_to_prove",
    "backups_visible_to",
    "events_visible_to",
    "follow_up_tasks_visible_to",
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
    "node_quota",
    "node_that_reaches",
    "nodes_open_for_stages",
    "nodes_visible_to",
    "nodes_with_live_workers",
    "nodes_with_standing",
    "oldest_active_job",
    "overdue",
    "owners_of",
    "page_of",
    "protection_counts",
    "responsible_for",
    "running_attempts",
    "site_quota",
    "sites_due",
    "sites_visible_to",
    "sites_with_protection",
    "sites_with_usage",
    "stages_visible_to",
    "standing_failures",
    "storage_usage",
    "storages_used_by",
    "storages_visible_to",
    "task_owners_visible_to",
    "task_stats",
    "tasks_with_state",
    "usage_by_storage",
    "users_visible_to",
    "worker_silence",
]

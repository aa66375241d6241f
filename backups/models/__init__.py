"""The rows. Everything that happened and everything that is wanted is in them."""

from backups.models.backup import Backup, BackupStatus
from backups.models.event import EventLevel, JobEvent
from backups.models.job import Job, Stage
from backups.models.node import Node, Worker
from backups.models.site import Site
from backups.models.storage import Storage

__all__ = [
    "Backup",
    "BackupStatus",
    "EventLevel",
    "Job",
    "JobEvent",
    "Node",
    "Site",
    "Stage",
    "Storage",
    "Worker",
]

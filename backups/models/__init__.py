"""The rows. Everything that happened and everything that is wanted is in them."""

from backups.models.audit import AuditEntry, AuditOutcome, AuditSource
from backups.models.backup import Backup, BackupStatus
from backups.models.errand import Errand, ErrandKind
from backups.models.event import EventLevel, JobEvent
from backups.models.followup import FollowUpTask
from backups.models.job import Job, Stage
from backups.models.leadership import Leadership
from backups.models.node import MAX_SLOTS, EnrolmentToken, InputOutputClass, Node, Worker
from backups.models.proof import Proof, ProofOutcome
from backups.models.site import RECORDED_FIELDS, RECORDED_RULES, RECORDED_SCHEDULE, Site
from backups.models.storage import Storage

__all__ = [
    "MAX_SLOTS",
    "RECORDED_FIELDS",
    "RECORDED_RULES",
    "RECORDED_SCHEDULE",
    "AuditEntry",
    "AuditOutcome",
    "AuditSource",
    "Backup",
    "BackupStatus",
    "EnrolmentToken",
    "Errand",
    "ErrandKind",
    "EventLevel",
    "FollowUpTask",
    "InputOutputClass",
    "Job",
    "JobEvent",
    "Leadership",
    "Node",
    "Proof",
    "ProofOutcome",
    "Site",
    "Stage",
    "Storage",
    "Worker",
]

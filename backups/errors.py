"""What the domain refuses, and why. Each class has a stable code and an HTTP status."""

from __future__ import annotations

from typing import ClassVar


def with_hint(message: str, hint: str) -> str:
    """Return what failed and what to do about it as two sentences."""
    ended = message if not hint or message.endswith((".", "!", "?")) else f"{message}."
    return f"{ended} {hint}".strip()


class DomainError(Exception):
    """A refusal with a sentence for a person; `code` is the stable word that clients test for."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 409

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BackupAlreadyRunningError(DomainError):
    """The site has an active job; it can have only one."""

    code = "backup_already_running"


class JobNotActiveError(DomainError):
    """There is nothing to stop: no job of the site is active, or this one has ended."""

    code = "backup_not_running"


class JobNotRetryableError(DomainError):
    """Only a job that failed or was stopped can be tried again."""

    code = "job_not_retryable"


class NodeHeldError(DomainError):
    """Another host works as this node; two at once would not find each other's work."""

    code = "node_held"


class StorageMissingError(DomainError):
    """There is no storage that the site's bundles could go to."""

    code = "storage_missing"


class NodeDisabledError(DomainError):
    """The node takes no work until somebody enables it."""

    code = "node_disabled"


class NoRoomError(DomainError):
    """The node's spool cannot hold what the backup is expected to need."""

    code = "not_enough_space"


class TaskGoneError(DomainError):
    """Somebody removed the follow-up task meanwhile."""

    code = "not_found"
    status = 404


class QuotaExceededError(DomainError):
    """The next backup is expected to take more than the site or its node may keep."""

    code = "quota_exceeded"


class EnrolmentRefusedError(DomainError):
    """The token is none of ours, or good no more; which of these is told to nobody."""

    code = "enrolment_refused"
    status = 401


class EnrolmentUnavailableError(DomainError):
    """The panel has no settings that another host could work with."""

    code = "enrolment_unavailable"


class InUseError(DomainError):
    """Something still refers to what should be deleted."""

    code = "in_use"


class ImmutableRowError(DomainError):
    """A row that is kept as it was written was to be changed or removed."""

    code = "immutable"


class SecretUnreadableError(DomainError):
    """A stored secret cannot be decrypted with any of the keys in the environment."""

    code = "secret_unreadable"
    status = 500


class BrokerUnavailableError(DomainError):
    """Redis cannot be reached, and the answer was needed now."""

    code = "broker_unavailable"
    status = 503


class NodeUnavailableError(DomainError):
    """No worker of the node is alive to answer."""

    code = "node_unavailable"
    status = 503


class DownloadUnavailableError(DomainError):
    """The bundle cannot be fetched from where the panel runs, or there is none any more."""

    code = "download_unavailable"


class DeletionRefusedError(DomainError):
    """What should be deleted is still needed, or is not known to be gone."""

    code = "deletion_refused"


class SiteExistsError(DomainError):
    """The folder is a site of this node already."""

    code = "site_exists"


class LinkExpiredError(DomainError):
    """A signed link was good once."""

    code = "link_expired"
    status = 410


class LinkInvalidError(DomainError):
    """A signed link was not made by this installation, or was changed."""

    code = "link_invalid"
    status = 404


class InvalidFieldError(DomainError):
    """One field of what was sent cannot be used; `field` names it."""

    code = "invalid"
    status = 400

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NodeWorkError(DomainError):
    """The node answered with an error of its own; `code` and `status` are the answer's.

    `is_permanent` says that the node knows that trying again is of no use: nothing has changed.
    """

    status = 422

    def __init__(self, message: str, code: str, status: int, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        # The instance's own, since the node decides them; the class has only defaults.
        self.__dict__.update(code=code, status=status)
        self.is_permanent = is_permanent


class RestoreRefusedError(DomainError):
    """The backup cannot be restored there, or not in this way."""

    code = "restore_refused"


class PinRefusedError(DomainError):
    """There is nothing that a pin could keep, or somebody else's pin holds it."""

    code = "pin_refused"


class TrustRefusedError(DomainError):
    """There is no bundle to trust, or a proof has shown it to be wrong."""

    code = "trust_refused"


class BackupGoingError(DomainError):
    """The backup is being removed: its object may be gone at any moment."""

    code = "backup_going"

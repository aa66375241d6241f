"""What is refused about people, and why."""

from __future__ import annotations

from backups.errors import DomainError


class RegistrationClosedError(DomainError):
    """Nobody signs up by themselves here."""

    code = "registration_closed"
    status = 403


class OwnAccountError(DomainError):
    """Nobody takes their own rights away: it is done by a slip, and nobody can undo it alone."""

    code = "own_account"


class LastSuperAdminError(DomainError):
    """Somebody must be left who may do everything."""

    code = "last_super_admin"


class UserGoneError(DomainError):
    """The user was deleted meanwhile."""

    code = "not_found"
    status = 404

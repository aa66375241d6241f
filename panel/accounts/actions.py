"""Every write to users and to what is assigned to them. API and admin come through here."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q

from backups.actions.deadlocks import again_after_deadlock
from backups.errors import InvalidFieldError
from backups.roles import Person, Role
from panel.accounts import sign_ins
from panel.accounts.errors import LastSuperAdminError, OwnAccountError, UserGoneError
from panel.accounts.models import EndOfSignIn, User, plain_email, plain_username


class Assignable(StrEnum):
    """What can be assigned to a user: the name of the relation."""

    NODES = "assigned_nodes"
    SITES = "assigned_sites"


class Change(StrEnum):
    """What to do with assignments."""

    ADD = "add"
    REPLACE = "set"
    REMOVE = "remove"


# What the wire calls their keys, and a person one of them.
FIELDS = {Assignable.NODES: "node_ids", Assignable.SITES: "site_ids"}
_WORDS = {Assignable.NODES: "node", Assignable.SITES: "site"}


def add_user(*, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401
    """Create a user; without a password, one who cannot sign in by password.

    Unless `is_staff` is given, it follows from the role: see `works_in_the_admin`. Raises
    `InvalidFieldError` for a name that is taken, `ValidationError` for a weak password.
    """
    names = {"email": plain_email(email), "username": plain_username(fields.pop("username", None))}
    fields.setdefault("is_staff", works_in_the_admin(fields.get("role", Role.SITE_ADMIN)))
    _refuse_taken(None, **names)
    if password is not None:
        check_password(password, User(**names, full_name=fields.get("full_name", "")))
    try:
        with transaction.atomic():
            return User.objects.create_user(password=password, **names, **fields)  # type: ignore[arg-type]
    except IntegrityError:
        # Somebody else was quicker.
        _refuse_taken(None, **names)
        raise


def works_in_the_admin(role: str) -> bool:
    """Return whether people of that role do their work in the dashboard and the admin.

    Site admins have their sites' pages, and may be let in by hand.
    """
    return role in (Role.SUPER_ADMIN, Role.NODE_ADMIN)


@again_after_deadlock
def change_user(*, user: User, changed_by: Person | None, **changes: Any) -> User:  # noqa: ANN401
    """Change columns of a user; `password` is the new one in plain text, or None for no password.

    With another role and no `is_staff`, that follows from the role.

    Returns the row. Another password, and deactivation, end all sign-ins. Raises
    `InvalidFieldError` for a name that is taken, `ValidationError` for a weak password,
    `OwnAccountError`, `LastSuperAdminError`, `UserGoneError`.
    """
    for name, plain in (("email", plain_email), ("username", plain_username)):
        if name in changes:
            changes[name] = plain(changes[name])
    _refuse_taken(user.pk, changes.get("email"), changes.get("username"))
    if "password" in changes:
        if changes["password"] is not None:
            check_password(changes["password"], user)
        # Before the lock: it takes a while.
        changes["password"] = make_password(changes["password"])
    try:
        with transaction.atomic():
            return _change_locked(user.pk, changed_by, changes)
    except IntegrityError:
        _refuse_taken(user.pk, changes.get("email"), changes.get("username"))
        raise


def _change_locked(key: int, changed_by: Person | None, changes: dict[str, Any]) -> User:
    row, others = _locked(key)
    was_super, was_active = _is_active_super(row), row.is_active
    if changes.get("role", row.role) != row.role:
        changes.setdefault("is_staff", works_in_the_admin(changes["role"]))
    for name, value in changes.items():
        setattr(row, name, value)
    # Django's word for "may do everything" follows from the role, and is set nowhere else.
    row.is_superuser = row.role == Role.SUPER_ADMIN
    if was_super and not _is_active_super(row):
        _refuse_loss(row, others, changed_by)
    row.save(update_fields=[*changes, "is_superuser"])
    if "password" in changes:
        sign_ins.end_sign_ins_of(user=row, reason=EndOfSignIn.PASSWORD_CHANGED)
    if was_active and not row.is_active:
        sign_ins.end_sign_ins_of(user=row, reason=EndOfSignIn.DEACTIVATED)
    return row


@again_after_deadlock
def delete_user(*, user: User, deleted_by: Person | None) -> None:
    """Delete a user with their sign-ins; raises `OwnAccountError`, `LastSuperAdminError`."""
    with transaction.atomic():
        row, others = _locked(user.pk)
        if deleted_by is not None and deleted_by.pk == row.pk:
            raise OwnAccountError("You cannot delete yourself; another super admin can.")
        if _is_active_super(row):
            _refuse_loss(row, others, deleted_by)
        row.delete()


@again_after_deadlock
def change_assignments(
    *, user: User, kind: Assignable, change: Change, keys: Sequence[int]
) -> list[int]:
    """Assign nodes or sites, or take them away; return the keys of all that are assigned then.

    Raises `InvalidFieldError` with the keys that do not exist. What is assigned already stays, and
    what was not assigned is taken away without complaint.
    """
    field, word = FIELDS[kind], _WORDS[kind]
    try:
        with transaction.atomic():
            row = User.objects.select_for_update().filter(pk=user.pk).first()
            if row is None:
                raise UserGoneError("This user was deleted meanwhile.")
            assigned: Any = getattr(row, kind)
            found = assigned.model.objects.filter(pk__in=keys).values_list("pk", flat=True)
            missing = sorted(set(keys) - set(found))
            if missing:
                listed = ", ".join(map(str, missing))
                raise InvalidFieldError(field, f"There is no {word} {listed}.")
            act = getattr(assigned, change)
            _ = act(keys) if change == Change.REPLACE else act(*keys)
            return sorted(assigned.values_list("pk", flat=True))
    except IntegrityError as error:
        raise InvalidFieldError(field, f"A {word} was deleted meanwhile; try again.") from error


def check_password(password: str, user: User) -> None:
    """Raise `ValidationError`, by field, for a password that Django's validators refuse."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from error


def _locked(key: int) -> tuple[User, list[User]]:
    """Return the user and the other active super admins, locked until the transaction ends.

    All who change super admins wait here for each other, so that two cannot remove one another.
    """
    supers = Q(role=Role.SUPER_ADMIN, is_active=True)
    rows = list(User.objects.select_for_update().filter(supers | Q(pk=key)).order_by("pk"))
    row = next((row for row in rows if row.pk == key), None)
    if row is None:
        raise UserGoneError("This user was deleted meanwhile.")
    return row, [other for other in rows if other.pk != key]


def _is_active_super(user: User) -> bool:
    return user.is_active and user.role == Role.SUPER_ADMIN


def _refuse_loss(row: User, others: list[User], by: Person | None) -> None:
    if by is not None and by.pk == row.pk:
        raise OwnAccountError("You cannot take your own rights away; another super admin can.")
    if not others:
        raise LastSuperAdminError("This is the last super admin; make somebody else one first.")


def _refuse_taken(key: int | None, email: str | None, username: str | None) -> None:
    others = User.objects.all() if key is None else User.objects.exclude(pk=key)
    if email and others.filter(email=email).exists():
        raise InvalidFieldError("email", "This e-mail address is taken.")
    if username and others.filter(username=username).exists():
        raise InvalidFieldError("username", "This user name is taken.")

"""The user, and what a user signs in with: tokens that a row backs, and tickets for streams."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from backups.roles import Role

USER_AGENT_CHARACTERS = 200
# No "@": so nobody can call themselves by somebody else's e-mail address.
USERNAME_PATTERN = r"^[A-Za-z0-9._-]+\Z"


def plain_email(email: str) -> str:
    """Return the one form that an e-mail address is stored and looked up in."""
    return BaseUserManager.normalize_email(email.strip()).lower()


def plain_username(username: str | None) -> str | None:
    """Return the one form of a user name; None for an empty one, since many have none."""
    return (username or "").strip().lower() or None


class UserManager(BaseUserManager["User"]):
    """Makes users, and finds them by what they type."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401
        """Create a user; without a password, one who cannot sign in by password."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        fields["username"] = plain_username(fields.get("username"))
        # Django's word for "may do everything" follows from the role, here as in `actions`.
        fields["is_superuser"] = fields.get("role") == Role.SUPER_ADMIN
        user = self.model(email=plain_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401
        """Create a super admin, who may do everything and sees the Django admin."""
        defaults = {"role": Role.SUPER_ADMIN, "is_staff": True}
        return self.create_user(email, password, **{**defaults, **fields})

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user with that e-mail address or user name, however its letters are cased.

        Only an address has an "@", so nobody can take another's address for a user name. Both are
        stored in one form: looked up as they are, the unique index finds them.
        """
        name = (username or "").strip()
        if "@" in name:
            return self.get(email=plain_email(name))
        return self.get(username=name.lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person. What they may touch follows from `role` and from assigned nodes and sites."""

    email = models.EmailField(unique=True)
    username = models.CharField(
        max_length=150,
        unique=True,
        null=True,  # many have none, and empty texts would not be unique
        blank=True,
        validators=[
            RegexValidator(USERNAME_PATTERN, "Use letters, digits, dots, hyphens and underscores.")
        ],
        help_text="Another name to sign in by.",
    )
    full_name = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.SITE_ADMIN)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False, help_text="May sign in to the Django admin.")
    is_verified = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        """Return the name to greet the user with."""
        return self.full_name or self.email

    def clean(self) -> None:
        """Store names in one form, so that unique means unique."""
        super().clean()
        self.email = plain_email(self.email)
        self.username = plain_username(self.username)


class EndOfSignIn(models.TextChoices):
    """Why a sign-in ended before its tokens expired."""

    SIGNED_OUT = "signed_out", "Signed out"
    REPLAYED = "replayed", "An old refresh token was shown again"
    PASSWORD_CHANGED = "password_changed", "The password changed"
    DEACTIVATED = "deactivated", "The user was deactivated"
    BY_ADMIN = "by_admin", "Ended by an admin"


class SignIn(models.Model):
    """One sign-in by token: both of its tokens carry this key, and are dead when it has ended.

    Of the refresh token only its number is kept (`jti`), which opens nothing without the signing
    key. That is why simplejwt's own `token_blacklist` is not used: it keeps whole refresh tokens
    in plain text, so that whoever reads the database could sign in with them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_ins"
    )
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(db_index=True, help_text="When tokens were last given out.")
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=USER_AGENT_CHARACTERS, blank=True)
    refresh_jti = models.CharField(max_length=32, editable=False)
    previous_jti = models.CharField(max_length=32, blank=True, editable=False)
    rotated_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, blank=True, choices=EndOfSignIn.choices)

    class Meta:
        ordering = ["-last_used_at"]
        verbose_name = "sign-in"

    def __str__(self) -> str:
        return f"{self.user} from {self.address or 'an unknown address'}"


class StreamTicket(models.Model):
    """The right to open one stream, once and for a minute. Only the ticket's SHA-256 is kept.

    `sign_in` is the one it was asked with; None for a session of the admin.
    """

    ticket_hash = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="stream_tickets"
    )
    sign_in = models.ForeignKey(
        SignIn, null=True, blank=True, on_delete=models.CASCADE, related_name="stream_tickets"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"stream ticket {self.pk} of {self.user}"

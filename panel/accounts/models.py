"""The user: signs in by e-mail, has one role."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils import timezone

from backups.roles import Role


class UserManager(BaseUserManager["User"]):
    """Makes users."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401
        """Create a user; without a password, one who cannot sign in by password."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:  # noqa: ANN401
        """Create a super admin, who may do everything and sees the Django admin."""
        defaults = {"role": Role.SUPER_ADMIN, "is_staff": True, "is_superuser": True}
        return self.create_user(email, password, **{**defaults, **fields})

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user with that e-mail address, however its letters are cased."""
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. What they may touch follows from `role` and from assigned nodes and sites."""

    email = models.EmailField(unique=True)
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
        """Store e-mail addresses in one form, so that unique means unique."""
        super().clean()
        self.email = type(self).objects.normalize_email(self.email).lower()

"""The three roles. What each may see is in `queries`."""

from __future__ import annotations

from typing import Any, Protocol

from django.db import models


class Role(models.TextChoices):
    """A user's role, one of three."""

    SUPER_ADMIN = "super_admin", "Super admin"
    NODE_ADMIN = "node_admin", "Node admin"
    SITE_ADMIN = "site_admin", "Site admin"


class Person(Protocol):
    """What the domain needs to know of a user, whose model belongs to the panel."""

    pk: Any
    role: str
    is_active: bool

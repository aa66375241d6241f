"""`manage.py prepare_demo`: first user and node of `manage.py demo`, told through a pipe."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from backups.actions import nodes
from backups.models import Node
from backups.roles import Role


class Command(BaseCommand):
    help = (
        "Used by `manage.py demo`. Reads JSON from standard input: email, password, node, roots. "
        "Makes the user a super admin with that password, and the node with those roots."
    )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            wanted = json.load(sys.stdin)
            email, password = wanted["email"], wanted["password"]
            name, roots = wanted["node"], wanted["roots"]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                "Standard input must be JSON with email, password, node and roots."
            ) from error
        prepare_user(email, password)
        node = Node.objects.filter(name=name).first()
        if node is None:
            nodes.add_node(name=name, allowed_roots=roots)
        else:
            nodes.set_allowed_roots(node=node, allowed_roots=roots)


def prepare_user(email: str, password: str) -> None:
    """Make the user a super admin who signs in with `password`, new or not."""
    users = get_user_model()
    user = users.objects.filter(email=email).first() or users(email=email)
    user.set_password(password)
    for name in ("is_active", "is_staff", "is_superuser"):
        setattr(user, name, True)
    user.role = Role.SUPER_ADMIN
    user.save()

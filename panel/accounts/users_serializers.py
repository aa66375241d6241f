"""Users on the wire, for whoever manages them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.api.serializers.strict import StrictSerializer
from backups.models import Node, Site
from backups.roles import Role
from panel.accounts.models import USERNAME_PATTERN
from panel.accounts.serializers import UserSerializer, password_field

MOST_KEYS = 10_000
MAX_KEY = 2**63 - 1


class UserDetailSerializer(UserSerializer):
    """A user, with what only those who see them among others need."""

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "is_staff", "last_login"]
        read_only_fields = fields


class UserFields(StrictSerializer):
    """What a super admin decides of a user."""

    email = serializers.EmailField(max_length=254)
    username = serializers.RegexField(
        USERNAME_PATTERN,
        max_length=150,
        required=False,
        allow_null=True,
        help_text="Another name to sign in by: letters, digits, dots, hyphens, underscores.",
    )
    full_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    role = serializers.ChoiceField(choices=Role.choices)
    is_staff = serializers.BooleanField(
        required=False,
        help_text="May open the dashboard and the admin; left out, it follows from the role.",
    )


class NewUserSerializer(UserFields):
    """A new user; without a password, one who cannot sign in by password."""

    password = password_field(required=False)


class UserChanges(UserFields):
    """What may be changed of a user; what is left out stays.

    Super admins change anything. Everybody changes their own `full_name` and, with their
    `current_password`, their `password`.
    """

    is_active = serializers.BooleanField(required=False)
    is_verified = serializers.BooleanField(required=False)
    password = password_field(required=False)
    current_password = password_field(required=False)


# What of it is everybody's own.
OWN_CHANGES = {"full_name", "password", "current_password"}


class UsersQuery(serializers.Serializer[Any]):
    """Which users are wanted."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    is_active = serializers.BooleanField(required=False, allow_null=True, default=None)


def _keys() -> serializers.ListField:
    key = serializers.IntegerField(min_value=1, max_value=MAX_KEY)
    return serializers.ListField(child=key, max_length=MOST_KEYS)


class NodeKeys(StrictSerializer):
    """Nodes, by their ids."""

    node_ids = _keys()


class SiteKeys(StrictSerializer):
    """Sites, by their ids."""

    site_ids = _keys()


class AssignedNodeSerializer(serializers.ModelSerializer[Node]):
    """A node that is assigned."""

    class Meta:
        model = Node
        fields = ["id", "name"]
        read_only_fields = fields


class AssignedSiteSerializer(serializers.ModelSerializer[Site]):
    """A site that is assigned."""

    class Meta:
        model = Site
        fields = ["id", "name"]
        read_only_fields = fields

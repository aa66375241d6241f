"""A host's enrolment on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.actions.enrolment import LONGEST_VALID_HOURS
from backups.api.serializers.strict import StrictSerializer
from backups.models import Node


class InvitationRequest(StrictSerializer):
    """How long the token is to be good."""

    valid_hours = serializers.FloatField(
        default=1, min_value=0.01, max_value=LONGEST_VALID_HOURS, help_text="1 if left out."
    )


class InvitationBody(serializers.Serializer[Any]):
    """The token is shown this once; `command` is for the host, which then asks for the token."""

    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    command = serializers.CharField()


class JoinRequest(StrictSerializer):
    """The token is the credential."""

    token = serializers.CharField(max_length=200)
    hostname = serializers.CharField(max_length=255)


class JoinedNode(serializers.ModelSerializer[Node]):
    """What a host needs to know of the node that it is."""

    class Meta:
        model = Node
        fields = ["id", "uuid", "name", "allowed_roots"]
        read_only_fields = fields


class NodeSelfBody(serializers.Serializer[Any]):
    """The host's settings: variables of the environment and their values. They hold secrets."""

    node = JoinedNode()
    settings = serializers.DictField(child=serializers.CharField())


class JoinedBody(NodeSelfBody):
    """The credential gets the settings again, and is good for nothing else."""

    credential = serializers.CharField()

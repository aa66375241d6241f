"""Sign-in and users on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from panel.accounts.models import User


class LoginSerializer(serializers.Serializer[Any]):
    """Who signs in, by `email`; `username` is another word for it."""

    email = serializers.CharField(max_length=254, required=False)
    username = serializers.CharField(max_length=254, required=False)
    # Hashing time grows with the length: nobody's password is longer than this.
    password = serializers.CharField(
        max_length=1000, trim_whitespace=False, style={"input_type": "password"}
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require one of the two names."""
        if not attrs.get("email") and not attrs.get("username"):
            raise serializers.ValidationError({"email": ["This field is required."]})
        return attrs


class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token from the sign-in."""

    refresh_token = serializers.CharField(max_length=5000)


class TokensBody(serializers.Serializer[Any]):
    """What a sign-in gives; `expires_in` is the access token's life in seconds."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    refresh_token = serializers.CharField()
    expires_in = serializers.IntegerField()


class UserSerializer(serializers.ModelSerializer[User]):
    """A user, with the ids of the nodes and sites that are assigned to them."""

    assigned_nodes = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)
    assigned_sites = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)

    class Meta:
        model = User
        fields = [
            "id",
            "email",
            "full_name",
            "is_active",
            "is_verified",
            "role",
            "assigned_nodes",
            "assigned_sites",
            "created_at",
        ]
        read_only_fields = fields

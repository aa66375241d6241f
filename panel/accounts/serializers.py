"""Sign-in on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backups.api.serializers.strict import StrictSerializer
from panel.accounts.models import User


def password_field(**options: Any) -> serializers.CharField:  # noqa: ANN401
    """Return a field for a password: never shown, blanks count.

    Hashing time grows with the length: nobody's password is longer than this.
    """
    return serializers.CharField(
        max_length=1000,
        trim_whitespace=False,
        write_only=True,
        style={"input_type": "password"},
        **options,
    )


class LoginSerializer(StrictSerializer):
    """Who signs in: `email` and `username` each take either of a user's two names."""

    email = serializers.CharField(max_length=254, required=False)
    username = serializers.CharField(max_length=254, required=False)
    password = password_field()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require one of the two names."""
        if not attrs.get("email") and not attrs.get("username"):
            raise serializers.ValidationError({"email": ["This field is required."]})
        return attrs


class RegisterSerializer(StrictSerializer):
    """Who signs up. What they may do is not theirs to say."""

    email = serializers.EmailField(max_length=254)
    password = password_field()
    full_name = serializers.CharField(max_length=200, required=False, allow_blank=True)


class RefreshSerializer(StrictSerializer):
    """A refresh token from the sign-in."""

    refresh_token = serializers.CharField(max_length=5000)


class LogoutSerializer(StrictSerializer):
    """Nothing needs to be sent; a refresh token of another sign-in ends that one as well."""

    refresh_token = serializers.CharField(max_length=5000, required=False)


class TokensBody(serializers.Serializer[Any]):
    """What a sign-in gives; `expires_in` is the access token's life in seconds."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    refresh_token = serializers.CharField()
    expires_in = serializers.IntegerField()


class TicketBody(serializers.Serializer[Any]):
    """A ticket for one stream; `expires_in` is its life in seconds."""

    ticket = serializers.CharField()
    expires_in = serializers.IntegerField()


class SignedOutBody(serializers.Serializer[Any]):
    """The sign-in has ended."""

    success = serializers.BooleanField()
    message = serializers.CharField()


class UserSerializer(serializers.ModelSerializer[User]):
    """A user, with the ids of the nodes and sites that are assigned to them."""

    assigned_nodes = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)
    assigned_sites = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)

    class Meta:
        model = User
        fields = [
            "id",
            "email",
            "username",
            "full_name",
            "is_active",
            "is_verified",
            "role",
            "assigned_nodes",
            "assigned_sites",
            "created_at",
        ]
        read_only_fields = fields

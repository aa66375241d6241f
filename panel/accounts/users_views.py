"""Users and what is assigned to them: super admins manage, others see whom they may."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.filters import SearchFilter
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api.access import require, visible_or_refused
from backups.api.pages import MAX_LIMIT, StableOrdering
from backups.api.serializers.common import ErrorBody
from backups.errors import InvalidFieldError
from backups.queries import (
    may_manage_users,
    nodes_visible_to,
    sites_visible_to,
    users_visible_to,
)
from panel.accounts import actions, lockout
from panel.accounts.actions import FIELDS, Assignable, Change
from panel.accounts.models import User
from panel.accounts.queries import users_shown_to
from panel.accounts.users_serializers import (
    OWN_CHANGES,
    AssignedNodeSerializer,
    AssignedSiteSerializer,
    NewUserSerializer,
    NodeKeys,
    SiteKeys,
    UserChanges,
    UserDetailSerializer,
    UsersQuery,
)
from panel.accounts.views import signed_in_user

ONLY_SUPER_ADMINS = "Only a super admin does this."


class Page(LimitOffsetPagination):
    """DRF's envelope; nobody asks for everything at once."""

    max_limit = MAX_LIMIT


class UserList(ListAPIView[User]):
    """The users that you may see; add one."""

    serializer_class: Any = UserDetailSerializer
    pagination_class = Page
    filter_backends = [SearchFilter, StableOrdering]
    search_fields = ["email", "username", "full_name"]
    ordering_fields = ["id", "email", "full_name", "role", "created_at", "last_login"]
    ordering = ["email"]

    def get_queryset(self) -> QuerySet[User]:
        """Return the visible users that the query asks for."""
        query = UsersQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        wanted = {name: value for name, value in query.validated_data.items() if value is not None}
        return users_shown_to(signed_in_user(self.request)).filter(**wanted)

    @extend_schema(parameters=[UsersQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401
        """Return a page of users."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=NewUserSerializer,
        responses={201: UserDetailSerializer, 400: ErrorBody, 403: ErrorBody},
    )
    def post(self, request: Request) -> Response:
        """Add a user. Super admins only."""
        viewer = signed_in_user(request)
        require(may_manage_users(viewer), ONLY_SUPER_ADMINS)
        serializer = NewUserSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = actions.add_user(**serializer.validated_data)
        return Response(_shown(viewer, user), status=201)


class UserDetail(GenericAPIView[User]):
    """One user."""

    serializer_class = UserChanges

    def get_object(self) -> User:
        """Return the user; raises 403 or 404."""
        visible: QuerySet[User] = users_visible_to(signed_in_user(self.request))
        return visible_or_refused(visible, self.kwargs["user_id"])

    @extend_schema(responses=UserDetailSerializer)
    def get(self, request: Request, user_id: int) -> Response:
        """Return the user."""
        return Response(_shown(signed_in_user(request), self.get_object()))

    @extend_schema(
        request=UserChanges,
        responses={200: UserDetailSerializer, 400: ErrorBody, 409: ErrorBody, 429: ErrorBody},
    )
    def patch(self, request: Request, user_id: int) -> Response:
        """Change a user. Another password, and deactivation, end all of the user's sign-ins.

        Nobody takes their own rights away, and one active super admin always stays.
        """
        user, viewer = self.get_object(), signed_in_user(request)
        is_manager, is_own = may_manage_users(viewer), user.pk == viewer.pk
        require(is_manager or is_own, ONLY_SUPER_ADMINS)
        serializer = self.get_serializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changes = dict(serializer.validated_data)
        require(is_manager or changes.keys() <= OWN_CHANGES, ONLY_SUPER_ADMINS)
        current = changes.pop("current_password", None)
        if is_own and "password" in changes:
            _require_own_password(request, user, current)
        changed = actions.change_user(user=user, changed_by=viewer, **changes)
        return Response(_shown(viewer, changed))

    @extend_schema(request=None, responses={204: None, 409: ErrorBody})
    def delete(self, request: Request, user_id: int) -> Response:
        """Delete a user. Super admins only; not yourself, and not the last of them."""
        user, viewer = self.get_object(), signed_in_user(request)
        require(may_manage_users(viewer), ONLY_SUPER_ADMINS)
        actions.delete_user(user=user, deleted_by=viewer)
        return Response(status=204)


class Assignments(ListAPIView[Any]):
    """What is assigned to a user; a subclass says of which kind."""

    kind: ClassVar[Assignable]
    keys_serializer: ClassVar[Any]
    visible_to: ClassVar[Any]
    pagination_class = Page
    filter_backends: list[Any] = []

    def get_queryset(self) -> QuerySet[Any]:
        """Return the visible part of what the user has; raises 403 or 404."""
        viewer = signed_in_user(self.request)
        user = visible_or_refused(users_visible_to(viewer), self.kwargs["user_id"])
        visible: QuerySet[Any] = type(self).visible_to(viewer)
        assigned: QuerySet[Any] = getattr(user, self.kind).filter(pk__in=visible.values("pk"))
        return assigned.only("pk", "name").order_by("name", "pk")

    def changed(self, request: Request, user_id: int, change: Change) -> Response:
        """Change it as the request says, and return the keys of all that is assigned then."""
        viewer = signed_in_user(request)
        user = visible_or_refused(users_visible_to(viewer), user_id)
        require(may_manage_users(viewer), ONLY_SUPER_ADMINS)
        serializer = type(self).keys_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        field = FIELDS[self.kind]
        keys = actions.change_assignments(
            user=user, kind=self.kind, change=change, keys=serializer.validated_data[field]
        )
        return Response({field: keys})


class UserNodes(Assignments):
    """The nodes of a user; they count for node admins."""

    kind = Assignable.NODES
    serializer_class = AssignedNodeSerializer
    keys_serializer = NodeKeys
    visible_to = staticmethod(nodes_visible_to)

    @extend_schema(request=NodeKeys, responses={200: NodeKeys, 400: ErrorBody, 403: ErrorBody})
    def post(self, request: Request, user_id: int) -> Response:
        """Assign these nodes as well; return all that are assigned then."""
        return self.changed(request, user_id, Change.ADD)

    @extend_schema(request=NodeKeys, responses={200: NodeKeys, 400: ErrorBody, 403: ErrorBody})
    def put(self, request: Request, user_id: int) -> Response:
        """Assign just these nodes; return all that are assigned then."""
        return self.changed(request, user_id, Change.REPLACE)

    @extend_schema(request=NodeKeys, responses={200: NodeKeys, 400: ErrorBody, 403: ErrorBody})
    def delete(self, request: Request, user_id: int) -> Response:
        """Take these nodes away; return all that are assigned then."""
        return self.changed(request, user_id, Change.REMOVE)


class UserSites(Assignments):
    """The sites of a user; they count for site admins and for node admins."""

    kind = Assignable.SITES
    serializer_class = AssignedSiteSerializer
    keys_serializer = SiteKeys
    visible_to = staticmethod(sites_visible_to)

    @extend_schema(request=SiteKeys, responses={200: SiteKeys, 400: ErrorBody, 403: ErrorBody})
    def post(self, request: Request, user_id: int) -> Response:
        """Assign these sites as well; return all that are assigned then."""
        return self.changed(request, user_id, Change.ADD)

    @extend_schema(request=SiteKeys, responses={200: SiteKeys, 400: ErrorBody, 403: ErrorBody})
    def put(self, request: Request, user_id: int) -> Response:
        """Assign just these sites; return all that are assigned then."""
        return self.changed(request, user_id, Change.REPLACE)

    @extend_schema(request=SiteKeys, responses={200: SiteKeys, 400: ErrorBody, 403: ErrorBody})
    def delete(self, request: Request, user_id: int) -> Response:
        """Take these sites away; return all that are assigned then."""
        return self.changed(request, user_id, Change.REMOVE)


def _shown(viewer: User, user: User) -> Any:  # noqa: ANN401
    return UserDetailSerializer(users_shown_to(viewer).get(pk=user.pk)).data


def _require_own_password(request: Request, user: User, current: str | None) -> None:
    """Raise unless the user gave their password: a session left open must not be enough.

    A wrong one counts as a failed sign-in, so that nobody tries them here instead.
    """
    if not current:
        raise InvalidFieldError("current_password", "Give your current password as well.")
    found = lockout.check_credentials(request._request, name=user.email, password=current)
    if found is None or found.pk != user.pk:
        raise InvalidFieldError("current_password", "This is not your current password.")

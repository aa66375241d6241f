"""What is kept of a site's backups: rules, a preview of what they do, and pins."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import pins, policies, trust
from backups.api.access import person, require, visible_or_refused
from backups.api.serializers.common import EmptyBody, ErrorBody, require_empty
from backups.api.serializers.retention import (
    PinSerializer,
    RetentionBody,
    RulesSerializer,
    retention_body,
)
from backups.api.serializers.stored import BackupSerializer
from backups.api.views.backups import with_names
from backups.api.views.control import visible_site
from backups.models import Backup, ErrandKind, Site
from backups.queries import may_manage_site
from backups.queries.retention import effective_policy, retention_plan
from backups.retention import Policy


def _answer(site: Site, changed: Policy | None = None) -> Response:
    errand = site.errands.filter(kind=ErrandKind.PRUNE).first()
    return Response(retention_body(site, retention_plan(site, changed=changed), errand))


class SiteRetention(GenericAPIView[Any]):
    """How many backups of a site are kept; also for its own admins, as its schedule is."""

    serializer_class = RulesSerializer

    @extend_schema(parameters=[RulesSerializer], responses={200: RetentionBody, 400: ErrorBody})
    def get(self, request: Request, site_id: int) -> Response:
        """Return the policy in effect, what it keeps and removes, and why.

        Rules in the query say what would be if the site had these.
        """
        site = visible_site(request, site_id)
        query = RulesSerializer(data={name: text for name, text in request.query_params.items()
                                      if name != "format"})  # fmt: skip
        query.is_valid(raise_exception=True)
        if not query.validated_data:
            return _answer(site)
        policy, _ = effective_policy(site)
        return _answer(site, query.policy(policy))

    @extend_schema(request=RulesSerializer, responses={200: RetentionBody, 400: ErrorBody})
    def put(self, request: Request, site_id: int) -> Response:
        """Change the site's own rules; the answer is what comes of it."""
        site = visible_site(request, site_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return _answer(policies.set_retention(site=site, **serializer.validated_data))


class BackupPin(GenericAPIView[Backup]):
    """A pin keeps a backup whatever the policy says."""

    serializer_class = PinSerializer

    @extend_schema(request=PinSerializer, responses={200: BackupSerializer, 409: ErrorBody})
    def post(self, request: Request, backup_id: int) -> Response:
        """Pin the backup, or change the pin's note."""
        user = person(request)
        backup = visible_or_refused(with_names(user), backup_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        pins.pin_backup(backup=backup, by=user, **serializer.validated_data)
        return _shown(request, backup_id)

    @extend_schema(request=None, responses={200: BackupSerializer, 409: ErrorBody})
    def delete(self, request: Request, backup_id: int) -> Response:
        """Take the pin away. A site's own admins may do so with pins of their own."""
        user = person(request)
        backup = visible_or_refused(with_names(user), backup_id)
        pins.unpin_backup(backup=backup, by=user)
        return _shown(request, backup_id)


class BackupTrust(GenericAPIView[Backup]):
    """A suspect backup counts as no copy until somebody has looked at it."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses={200: BackupSerializer, 409: ErrorBody})
    def post(self, request: Request, backup_id: int) -> Response:
        """Count a suspect backup as a good one; for admins of the node, since older ones may go."""
        user = person(request)
        backup = visible_or_refused(with_names(user), backup_id)
        allowed = may_manage_site(user, backup.site)
        require(allowed, "Only an admin of the node may say that a suspect backup is right.")
        require_empty(request)
        trust.trust_backup(backup=backup)
        return _shown(request, backup_id)


def _shown(request: Request, backup_id: int) -> Response:
    backup = visible_or_refused(with_names(person(request)), backup_id)
    return Response(BackupSerializer(backup, context={"request": request}).data)

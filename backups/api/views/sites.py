"""Sites: list, add, change, remove, and find them on a node."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.filters import SearchFilter
from rest_framework.generics import GenericAPIView, ListCreateAPIView, RetrieveUpdateDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backups.actions import sites
from backups.api.access import chosen_node, person, require, visible_or_refused
from backups.api.asking import Question, ask
from backups.api.pages import SitesPage, StableOrdering
from backups.api.serializers.common import ErrorBody, PendingBody
from backups.api.serializers.sites import (
    ManualSiteSerializer,
    ScanBody,
    ScanQuery,
    SiteSerializer,
)
from backups.errors import InvalidFieldError
from backups.models import Node, Site
from backups.queries import may_manage_site, sites_visible_to, sites_with_usage


class SiteList(ListCreateAPIView[Site]):
    """The sites that you may see; new ones are added by the admins of their node."""

    serializer_class = SiteSerializer
    pagination_class = SitesPage
    filter_backends = [SearchFilter, StableOrdering]
    search_fields = ["name", "url", "wp_path"]
    ordering_fields = ["id", "name", "url", "created_at", "last_backup", "backup_count",
                       "storage_used_bytes"]  # fmt: skip
    ordering = ["name"]

    def get_queryset(self) -> QuerySet[Site]:
        """Return the visible sites."""
        return sites_with_usage(sites_visible_to(person(self.request)))


class SiteDetail(RetrieveUpdateDestroyAPIView[Site]):
    """One site."""

    serializer_class = SiteSerializer

    def get_object(self) -> Site:
        """Return the site; raises 403 or 404."""
        visible = sites_visible_to(person(self.request))
        return visible_or_refused(sites_with_usage(visible), self.kwargs["site_id"])

    def perform_update(self, serializer: BaseSerializer[Site]) -> None:
        """Change what the user may change."""
        site = serializer.instance
        assert isinstance(site, Site)
        changed = {
            name
            for name, value in serializer.validated_data.items()
            if name == "db_password" or getattr(site, name) != value
        }
        if changed - sites.OWN_FIELDS:
            names = ", ".join(sorted(changed - sites.OWN_FIELDS))
            allowed = may_manage_site(person(self.request), site)
            require(allowed, f"Only an admin of the node may change {names}.")
        serializer.save()

    def perform_destroy(self, instance: Site) -> None:
        """Forget the site."""
        allowed = may_manage_site(person(self.request), instance)
        require(allowed, "Only an admin of the node may remove a site.")
        sites.delete_site(site=instance)


class SiteManual(GenericAPIView[Any]):
    """Add the WordPress site in a folder; its node looks at it first."""

    serializer_class = ManualSiteSerializer

    @extend_schema(
        request=ManualSiteSerializer,
        responses={201: SiteSerializer, 202: PendingBody, 400: ErrorBody, 422: ErrorBody},
    )
    def post(self, request: Request) -> Response:
        """Have the folder inspected, then add it with what `wp-config.php` says."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        node = chosen_node(person(request), given.get("node_id"))
        config_path = given.get("wp_config_path") or None
        _require_allowed(node, path=given["path"], wp_config_path=config_path)
        arguments = {
            "path": given["path"],
            "wp_config_path": config_path,
            "allowed_roots": node.allowed_roots,
        }
        context = {"node_id": node.pk, "name": given.get("name") or ""}
        return ask(request, node, Question("inspect_site", arguments, "add_site", context))


class NodeScan(GenericAPIView[Any]):
    """Look for WordPress sites on a node, below a folder that the node allows."""

    serializer_class = ScanBody

    @extend_schema(
        parameters=[ScanQuery], responses={200: ScanBody, 202: PendingBody, 400: ErrorBody}
    )
    def get(self, request: Request) -> Response:
        """Have the node look. `base_path` may be left out where the node has one root only."""
        query = ScanQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        node = chosen_node(person(request), query.validated_data.get("node_id"))
        base_path = query.validated_data.get("base_path") or _only_root(node)
        _require_allowed(node, base_path=base_path)
        arguments = {"base_path": base_path, "allowed_roots": node.allowed_roots}
        return ask(request, node, Question("scan", arguments, "scan", {"node_id": node.pk}))


def _require_allowed(node: Node, **paths: str | None) -> None:
    for field, path in paths.items():
        if path:
            sites.require_below(path, node.allowed_roots, field=field, node=node)


def _only_root(node: Node) -> str:
    if len(node.allowed_roots) != 1:
        listed = ", ".join(node.allowed_roots) or "none yet"
        raise InvalidFieldError("base_path", f"Name a folder below one of the roots: {listed}.")
    return str(node.allowed_roots[0])

"""How much of a site is kept."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import quotas
from backups.api.access import person, require
from backups.api.serializers.common import EmptyBody, ErrorBody, gibibytes
from backups.api.serializers.plans import (
    QuotaBody,
    QuotaCheckBody,
    QuotaQuery,
    QuotaStatusBody,
)
from backups.api.serializers.sites import SiteSerializer
from backups.api.views.control import visible_site
from backups.models import Site
from backups.queries import may_manage_site, node_quota, site_quota, sites_with_usage


def _shown(request: Request, site: Site) -> Response:
    row = sites_with_usage(Site.objects.filter(pk=site.pk)).get()
    return Response(SiteSerializer(row, context={"request": request}).data)


class SiteQuota(GenericAPIView[Any]):
    """How much a site's backups may take; for admins of its node."""

    serializer_class = EmptyBody

    @extend_schema(
        parameters=[QuotaQuery], request=None, responses={200: SiteSerializer, 400: ErrorBody}
    )
    def put(self, request: Request, site_id: int) -> Response:
        """Set the quota. Nothing is deleted for it: no backup begins that would exceed it."""
        site = visible_site(request, site_id)
        allowed = may_manage_site(person(request), site)
        require(allowed, "Only an admin of the node may change the quota.")
        query = QuotaQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        quotas.set_quota(site=site, quota_gb=query.validated_data["quota_gb"])
        return _shown(request, site)


class SiteQuotaStatus(GenericAPIView[Any]):
    """How much a site's good backups take, and how much they may."""

    serializer_class = QuotaStatusBody

    @extend_schema(responses=QuotaStatusBody)
    def get(self, request: Request, site_id: int) -> Response:
        """Return the site's quota, and that of its node to those who manage it."""
        site = visible_site(request, site_id)
        node = None
        if may_manage_site(person(request), site):
            node = {"node_id": site.node_id, **QuotaBody(node_quota(site.node)).data}
        body = {"site_id": site.pk, **QuotaBody(site_quota(site)).data, "node": node}
        return Response(body)


class SiteQuotaCheck(GenericAPIView[Any]):
    """Whether the next backup of a site fits into its quota, and into that of its node."""

    serializer_class = QuotaCheckBody

    @extend_schema(responses=QuotaCheckBody)
    def get(self, request: Request, site_id: int) -> Response:
        """Return what a start would be told now."""
        site = visible_site(request, site_id)
        check = quotas.check_quota(site=site)
        body = {
            "site_id": site.pk,
            "can_proceed": check.can_proceed,
            "used_gb": check.quota.used_gb,
            "quota_gb": check.quota.quota_gb,
            "expected_gb": gibibytes(check.expected_bytes),
            "reason": check.reason,
        }
        return Response(body)

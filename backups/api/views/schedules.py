"""Schedules of sites, pauses of sites and nodes, and what comes next."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from backups.actions import pausing, schedules
from backups.api.access import person
from backups.api.serializers.common import EmptyBody, ErrorBody, require_empty
from backups.api.serializers.schedules import (
    NodePauseBody,
    PauseSerializer,
    ScheduleSerializer,
    SiteScheduleBody,
    UpcomingRun,
)
from backups.api.serializers.sites import SiteSerializer
from backups.api.views.control import visible_site
from backups.api.views.nodes import visible_node
from backups.models import Node, Site
from backups.queries import schedule_of, sites_with_usage, upcoming_runs


class SiteSchedule(GenericAPIView[Any]):
    """When a site is backed up by itself; also for its own admins."""

    serializer_class = ScheduleSerializer

    @extend_schema(responses=SiteScheduleBody)
    def get(self, request: Request, site_id: int) -> Response:
        """Return the schedule, the next runs, and what holds them up."""
        return _site_body(visible_site(request, site_id))

    @extend_schema(request=ScheduleSerializer, responses={200: SiteSerializer, 400: ErrorBody})
    def put(self, request: Request, site_id: int) -> Response:
        """Set the schedule; `next_run_at` of the answer is when it comes next."""
        site = visible_site(request, site_id)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = dict(serializer.validated_data)
        frequency = given.pop("schedule_frequency")
        schedules.set_schedule(site=site, frequency=frequency, **given)
        row = sites_with_usage(Site.objects.filter(pk=site.pk)).get()
        return Response(SiteSerializer(row, context={"request": request}).data)


class SitePause(GenericAPIView[Any]):
    """Let a site's schedule rest; also for its own admins."""

    serializer_class = PauseSerializer

    @extend_schema(request=PauseSerializer, responses={200: SiteScheduleBody, 400: ErrorBody})
    def post(self, request: Request, site_id: int) -> Response:
        """Start no backup of the site by itself until then, or until it is resumed."""
        site = visible_site(request, site_id)
        pausing.pause(row=site, **_pause_of(self, request))
        return _site_body(site)


class SiteGoOn(GenericAPIView[Any]):
    """Let a site's schedule go on; also for its own admins."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses=SiteScheduleBody)
    def post(self, request: Request, site_id: int) -> Response:
        """Go on; if runs were missed meanwhile, one is made up for at once."""
        site = visible_site(request, site_id)
        require_empty(request)
        return _site_body(pausing.resume(row=site))


class NodePause(GenericAPIView[Any]):
    """Let the schedules of all sites of a node rest."""

    serializer_class = PauseSerializer

    @extend_schema(request=PauseSerializer, responses={200: NodePauseBody, 400: ErrorBody})
    def post(self, request: Request, node_id: int) -> Response:
        """Start no backup on the node by itself until then, or until it is resumed."""
        node = visible_node(request, node_id)
        return _node_body(pausing.pause(row=node, **_pause_of(self, request)))


class NodeGoOn(GenericAPIView[Any]):
    """Let the schedules of a node's sites go on."""

    serializer_class = EmptyBody

    @extend_schema(request=EmptyBody, responses=NodePauseBody)
    def post(self, request: Request, node_id: int) -> Response:
        """Go on; each site that missed runs meanwhile makes up for one."""
        node = visible_node(request, node_id)
        require_empty(request)
        return _node_body(pausing.resume(row=node))


class NodeUpcoming(ListAPIView[Site]):
    """What starts by itself on a node, the next one first: one run for each site."""

    serializer_class = UpcomingRun
    pagination_class = LimitOffsetPagination

    def get_queryset(self) -> QuerySet[Site]:
        """Return the scheduled sites of the node; raises 403 or 404."""
        node = visible_node(self.request, self.kwargs["node_id"])
        return upcoming_runs(node.sites.all())


def _pause_of(view: GenericAPIView[Any], request: Request) -> dict[str, Any]:
    serializer = view.get_serializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    given = serializer.validated_data
    return {
        "by": str(person(request)),
        "reason": given.get("reason", ""),
        "until": given.get("until"),
    }


def _site_body(site: Site) -> Response:
    return Response(SiteScheduleBody(schedule_of(site)).data)


def _node_body(node: Node) -> Response:
    return Response(NodePauseBody(node).data)

"""All running jobs on one connection, since a browser opens no more than six to a host."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from backups.api.access import person
from backups.queries.watched import Running, running_for, watched_statuses
from panel.dashboard.rights import viewer_of
from panel.dashboard.streams import SendsEvents, stream_of
from panel.dashboard.views import StaffView


class RunningQuery(serializers.Serializer[Any]):
    """Which of the running jobs are wanted."""

    node = serializers.IntegerField(
        min_value=0, max_value=2**63 - 1, default=None, help_text="Those of this node alone."
    )


def _asked_for(request: Request) -> Running:
    query = RunningQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    return running_for(person(request), query.validated_data["node"])


@extend_schema(exclude=True)
class RunningJobs(StaffView):
    """The running jobs of the sites that the user may see."""

    def get(self, request: Request) -> Response:
        """Return `{"jobs": [status object, …], "total": n}`, the furthest along first."""
        key = _asked_for(request)
        return Response(watched_statuses([key])[key])


@extend_schema(exclude=True)
class RunningStream(SendsEvents, StaffView):
    """The same, live; it has no end."""

    def get(self, request: Request) -> HttpResponseBase:
        """Return the stream of what `RunningJobs` answers."""
        viewer = viewer_of(request, None, must_be_staff=True)
        return stream_of(request, _asked_for(request), viewer)

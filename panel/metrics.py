"""GET /metrics: the installation's figures for Prometheus.

All of them come from the rows: any of several panel processes gives the same answer.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import django
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from backups.api.errors import json_error
from backups.api.serializers.common import ErrorBody
from backups.queries import metrics
from backups.queries.visibility import may_read_metrics
from backups.states import JobState

SCRAPER = "scraper"


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <HOLDFAST_METRICS_TOKEN>`; nobody is signed in by it."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, str] | None:
        """Return whom the token stands for; None for any other one, which may be a person's."""
        scheme, _, shown = get_authorization_header(request).partition(b" ")
        token = settings.HOLDFAST_METRICS_TOKEN.encode()
        if not token or scheme.lower() != b"bearer":
            return None
        is_ours = secrets.compare_digest(shown.strip(), token)
        return (AnonymousUser(), SCRAPER) if is_ours else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return 'Bearer realm="metrics"'


class MayReadMetrics(BasePermission):
    """Whoever shows the token, and super admins."""

    message = "Metrics are for super admins, and for whoever shows HOLDFAST_METRICS_TOKEN."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether it is one of them."""
        user: Any = request.user
        return request.auth == SCRAPER or (user.is_authenticated and may_read_metrics(user))


class AnyAccept(BaseContentNegotiation):
    """The text is the only answer, whatever a client would like; errors are JSON."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[Any],
        format_suffix: str | None = None,
    ) -> tuple[Any, str]:
        """Return the first renderer."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:  # noqa: ANN401
        """Return the first parser; nothing is sent here."""
        return next(iter(parsers))


class Metrics(APIView):
    """What Prometheus scrapes."""

    authentication_classes = [TokenAuthentication, *APIView.authentication_classes]
    permission_classes = (MayReadMetrics,)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="metrics",
        responses={
            (200, "text/plain"): OpenApiTypes.STR,
            401: ErrorBody,
            403: ErrorBody,
            503: ErrorBody,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the installation's figures in Prometheus's text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Installation())
        try:
            text = generate_latest(registry)
        except (OperationalError, InterfaceError):
            sentence = "The panel's database does not answer; try again soon."
            return json_error(503, sentence, "database_unavailable", {"Retry-After": "5"})
        return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


class Installation(Collector):
    """Reads the rows whenever it is asked; keeps nothing."""

    def collect(self) -> Iterator[Metric]:
        """Yield every figure; raises the database's errors."""
        yield from _process()
        yield from _jobs()
        yield from _stages()
        yield from _sites()
        yield from _keeping()
        yield from _nodes()
        yield from _workers()
        yield from _storages()


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"holdfast_{name}", text, labels=labels)


def _process() -> Iterator[Metric]:
    version = str(settings.SPECTACULAR_SETTINGS["VERSION"])
    build = _gauge("build_info", "Versions of this panel.", "version", "python", "django")
    build.add_metric([version, platform.python_version(), django.get_version()], 1)
    yield build
    up = _gauge("database_up", "Whether the panel's database answers; if not, this page is 503.")
    leads = _gauge("coordinator_up", "Whether a coordinator leads.")
    leads.add_metric([], metrics.coordinator_leads())
    up.add_metric([], 1)
    yield up
    yield leads


def _jobs() -> Iterator[Metric]:
    states = _gauge("jobs", "Jobs by state, ended ones included.", "state")
    for state, number in metrics.jobs_by_state().items():
        states.add_metric([state], number)
    yield states
    on_nodes = _gauge("node_jobs", "Queued and active jobs of a node.", "node", "phase")
    sums: dict[tuple[str, str], int] = {}
    for node, state, number in metrics.jobs_on_nodes():
        phase = "queued" if state == JobState.QUEUED else "active"
        sums[node, phase] = sums.get((node, phase), 0) + number
    for labels, number in sums.items():
        on_nodes.add_metric(labels, number)
    yield on_nodes
    stranded = _gauge("jobs_without_worker", "Active jobs on nodes that no worker is alive on.")
    stranded.add_metric([], metrics.jobs_without_worker())
    yield stranded


def _stages() -> Iterator[Metric]:
    of_day = "of stages that ended well, of the jobs of the last 24 hours"
    families = {
        "count": _gauge("stage_day_count", f"Number {of_day}.", "stage"),
        "seconds_sum": _gauge("stage_day_seconds_sum", f"Seconds {of_day}.", "stage"),
        "seconds_max": _gauge("stage_day_seconds_max", f"The longest {of_day}.", "stage"),
        "bytes_sum": _gauge("stage_day_bytes_sum", f"Bytes {of_day}.", "stage"),
        "bytes_max": _gauge("stage_day_bytes_max", f"The most bytes {of_day}.", "stage"),
    }
    for figures in metrics.stage_figures():
        for name, family in families.items():
            family.add_metric([figures.name], getattr(figures, name))
    yield from families.values()


def _sites() -> Iterator[Metric]:
    labels = ("site_id", "site", "node")
    age = _gauge("site_backup_age_seconds", "Age of a site's newest good backup.", *labels)
    never = _gauge("site_never_backed_up", "1 for each site without a good backup.", *labels)
    proof = _gauge("site_proof_age_seconds", "Since a trial restore of a site passed.", *labels)
    took = _gauge("site_restore_seconds", "What that trial restore took.", *labels)
    amiss = _gauge(
        "site_backups_amiss", "Backups whose objects are not as recorded, where any are.", *labels
    )
    for site in metrics.site_ages():
        values = [str(site.site_id), site.name, site.node]
        if site.amiss:
            amiss.add_metric(values, site.amiss)
        if site.seconds is None:
            never.add_metric(values, 1)
        else:
            age.add_metric(values, site.seconds)
        for family, value in ((proof, site.proof_seconds), (took, site.restore_seconds)):
            if value is not None:
                family.add_metric(values, value)
    yield from (age, never, proof, took, amiss)


def _keeping() -> Iterator[Metric]:
    unchecked = _gauge("backups_unchecked", "Backups whose objects nobody looked at for two days.")
    unchecked.add_metric([], metrics.backups_unchecked())
    labels = ("site_id", "site", "node")
    stuck = _gauge(
        "site_retention_failures",
        "How often in a row old backups of a site could not be removed, where they could not.",
        *labels,
    )
    for row in metrics.failing_prunings():
        values = [str(row["site_id"]), row["site__name"], row["node__name"]]
        stuck.add_metric(values, row["failures"])
    yield from (unchecked, stuck)


def _nodes() -> Iterator[Metric]:
    age = _gauge("node_heartbeat_age_seconds", "Since a node's last sign of life.", "node")
    slots = _gauge("node_slots", "How many stages may run at once.", "node")
    disk = _gauge("node_disk_percent", "How full the spool's disk is.", "node")
    is_open = _gauge("node_open", "Whether a node takes new stages.", "node")
    for node in metrics.nodes():
        labels = [node["name"]]
        slots.add_metric(labels, node["slots"])
        is_open.add_metric(labels, node["is_enabled"] and not node["is_draining"])
        for family, value in ((age, node["seconds"]), (disk, node["disk_percent"])):
            if value is not None:
                family.add_metric(labels, value)
    yield from (age, slots, disk, is_open)


def _workers() -> Iterator[Metric]:
    labels = ("node", "worker")
    age = _gauge("worker_heartbeat_age_seconds", "Since a worker's last heartbeat.", *labels)
    processes = _gauge("worker_processes", "How large a worker's pool is.", *labels)
    for worker in metrics.workers():
        values = [worker["node__name"], worker["name"]]
        age.add_metric(values, worker["seconds"])
        processes.add_metric(values, worker["concurrency"])
    yield from (age, processes)


def _storages() -> Iterator[Metric]:
    labels = ("storage", "type")
    passed = _gauge("storage_test_passed", "Whether a storage's newest test was good.", *labels)
    age = _gauge("storage_test_age_seconds", "Since a storage was tested.", *labels)
    for storage in metrics.storages():
        if storage["seconds"] is not None:
            values = [storage["name"], storage["type"]]
            passed.add_metric(values, not storage["test_error"])
            age.add_metric(values, storage["seconds"])
    yield from (passed, age)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema shows it."""

    target_class = "panel.metrics.TokenAuthentication"
    name = "metricsToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ANN401
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer"}

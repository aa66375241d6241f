"""Measure what the lists, the status and the admin's pages cost a large installation's database.

    python -m tests.bench.scale [--database mariadb] [--sites 10000] [--jobs 200000] [--runs 7]
                                [--pages dashboard] ...

A real server is filled with that many sites, jobs and what belongs to them; each page is asked for
by each role, in one process with the panel's own code. The time is that between a query and its
last row, added up over all queries of the request: the median of the runs, after one that warms
up. Each page is asked for with a few rows first: it must take as many queries then.
Pages with charts are asked for twice: as they are kept for a minute, and drawn anew.

Ends with 1 if a page takes more queries than with few rows, or more than `--limit` milliseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.installation import DATABASES, database_url
from tests.bench.scale_rows import Role, Size, fill, people

FEW = Size(nodes=4, sites=24, jobs=480)
SLOW_MILLISECONDS = 20
ORDERINGS = ("id", "name", "url", "created_at", "last_backup", "backup_count", "storage_used_bytes")
# Charts are drawn once a minute for all who see the same, so they may take longer.
ANEW, ANEW_FACTOR = ", anew", 3
# Among few rows nothing may be in that state; then no rows are asked for.
MAYBE_EMPTY = ("site list, ", "overview, ", "dashboard, ")
CHANGELISTS = (
    *("site", "job", "backup", "node", "jobevent", "stage", "worker", "storage"),
    *("auditentry", "followuptask", "enrolmenttoken"),
)


@dataclass
class Stopwatch:
    """Every query of a request, with how long it took; a wrapper of Django's cursors."""

    queries: list[tuple[float, str, Any]] = field(default_factory=list)

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            took = (time.perf_counter() - began) * 1000
            # A new connection is set up with these, whatever it is for.
            if not sql.startswith("SET SESSION "):
                self.queries.append((took, sql, params))

    def watch(self, connection: Any, **_: Any) -> None:
        """Watch a connection; /health opens its own, in threads."""
        if self not in connection.execute_wrappers:
            connection.execute_wrappers.append(self)


@dataclass(frozen=True)
class Measured:
    """What a page cost."""

    queries: int
    milliseconds: float
    least: float
    slowest: tuple[float, str, Any]


def pages_of(role: Role) -> Iterator[tuple[str, str]]:
    """What the role looks at: a name and a path."""
    api = "/api/v1"
    yield "sites", f"{api}/sites/"
    yield "sites, search", f"{api}/sites/?search=shop-00"
    yield "sites, search all", f"{api}/sites/?search=example.com"
    for name in ORDERINGS:
        yield f"sites by {name}", f"{api}/sites/?ordering={name}"
        yield f"sites by -{name}", f"{api}/sites/?ordering=-{name}"
    yield "sites, middle", f"{api}/sites/?skip={role.sites_seen // 2}"
    yield "sites, limit 500", f"{api}/sites/?limit=500"
    yield "site", f"{api}/sites/{role.site}"
    yield "jobs", f"{api}/jobs"
    for status in ("running", "completed", "failed", "stopped", "idle"):
        yield f"jobs, {status}", f"{api}/jobs?status={status}"
    yield "jobs, kind", f"{api}/jobs?kind=backup"
    yield "jobs, kind, completed", f"{api}/jobs?kind=backup&status=completed"
    yield "jobs of site", f"{api}/jobs?site_id={role.site}"
    yield "jobs of node", f"{api}/jobs?node_id={role.node}"
    yield "jobs of node, failed", f"{api}/jobs?node_id={role.node}&status=failed"
    yield "jobs, middle", f"{api}/jobs?skip={role.jobs_seen // 2}"
    yield "jobs, end", f"{api}/jobs?skip={max(0, role.jobs_seen - 60)}"
    yield (
        "jobs, completed, middle",
        f"{api}/jobs?status=completed&skip={role.jobs_seen * 45 // 100}",
    )
    yield "job", f"{api}/jobs/{role.job}"
    yield "nodes", f"{api}/nodes/"
    yield "site's backups", f"{api}/sites/{role.site}/backups"
    yield "backup status", f"{api}/sites/{role.site}/backup/status"
    yield "logs", f"{api}/sites/{role.site}/backup/logs"
    yield "storage summary", f"{api}/storage/summary"
    yield "storages", f"{api}/storage/providers"
    yield "health", "/health"
    yield "daemon health", f"{api}/daemon/health"
    yield from dashboard_pages_of(role)
    yield from admin_pages_of(role)


def dashboard_pages_of(role: Role) -> Iterator[tuple[str, str]]:
    """The pages that people keep open, and what those fetch."""
    fleet = "/admin/backup-maintenance"
    yield "dashboard", f"{fleet}/"
    yield f"dashboard{ANEW}", f"{fleet}/"
    yield f"dashboard, 90 days{ANEW}", f"{fleet}/?days=90"
    yield f"dashboard, one node{ANEW}", f"{fleet}/?node={role.node}"
    yield f"dashboard, search{ANEW}", f"{fleet}/?site=shop-00"
    yield "overview", f"{fleet}/overview"
    yield "overview, failing", f"{fleet}/overview?state=failing"
    yield "overview, one node", f"{fleet}/overview?node={role.node}"
    yield "running jobs", f"{fleet}/running"
    yield "running jobs of node", f"{fleet}/running?node={role.node}"
    yield "site list", "/sites/"
    for state in ("protected", "at_risk", "failing", "running"):
        yield f"site list, {state}", f"/sites/?state={state}"
    yield "site list, search", "/sites/?site=shop-00"
    yield "site list, end", f"/sites/?page={max(1, role.sites_seen // 50)}"
    yield "site page", f"/sites/{role.site}/"


def admin_pages_of(role: Role) -> Iterator[tuple[str, str]]:
    """The admin's lists."""
    for name in CHANGELISTS:
        yield f"admin: {name}", f"/admin/backups/{name}/"
    for name in ("user", "signin"):
        yield f"admin: {name}", f"/admin/accounts/{name}/"
    for name, key in (("site", role.site), ("job", role.job), ("node", role.node)):
        yield f"admin: {name}'s page", f"/admin/backups/{name}/{key}/change/"
    yield "admin: index", "/admin/"
    yield "admin: site, at risk", "/admin/backups/site/?protection=at_risk"
    yield "admin: site, failed", "/admin/backups/site/?status=failed"
    yield "admin: site, running", "/admin/backups/site/?status=running"
    yield "admin: site by backups", "/admin/backups/site/?o=-5"
    yield "admin: site, search", "/admin/backups/site/?q=shop-00"
    yield "admin: job, middle", f"/admin/backups/job/?p={max(1, role.jobs_seen // 100)}"
    yield "admin: job, failed", "/admin/backups/job/?state__exact=failed"
    yield "admin: job, search", "/admin/backups/job/?q=shop-00"
    yield "admin: backup, search", "/admin/backups/backup/?q=shop-00"
    yield "admin: job's log", f"/admin/backups/jobevent/?job__id__exact={role.job}"


def measure(
    stopwatch: Stopwatch, role: Role, path: str, runs: int, *, anew: bool = False
) -> Measured | None:
    """Ask for the page so often and once more; None where the role may not see it."""
    from django.core.cache import cache

    found = []
    for _ in range(runs + 1):
        if anew:
            cache.clear()
        stopwatch.queries.clear()
        status = role.client.get(path, HTTP_ACCEPT="application/json, text/html").status_code
        if status == 403 or (status == 302 and path.startswith("/admin/")):
            return None
        assert status == 200, f"{path} answers {status} to {role.name}"
        found.append(list(stopwatch.queries))
    warm = found[1:] or found
    times = [sum(query[0] for query in queries) for queries in warm]
    middle = sorted(range(len(warm)), key=times.__getitem__)[len(warm) // 2]
    slowest = max(warm[middle], key=lambda query: query[0])
    return Measured(len(warm[middle]), statistics.median(times), min(times), slowest)


def explain(sql: str, params: Any) -> list[str]:
    """Return how the database goes about a query, a line for each step."""
    from django.db import connection

    word = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{word} {sql}", params)
        return [" | ".join(str(value) for value in row) for row in cursor.fetchall()]


def set_up(stack: ExitStack, database: str) -> None:
    """Start the server, and make this process a panel with an empty database."""
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="holdfast-bench-")))
    os.environ["HOLDFAST_DATABASE_URL"] = database_url(stack, database, directory)
    # Nobody listens there: only what the database does is measured.
    os.environ["HOLDFAST_BROKER_URL"] = "redis://127.0.0.1:9/0"
    os.environ["DJANGO_SETTINGS_MODULE"] = "panel.settings"
    import django
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    if database == "mariadb":
        with connection.cursor() as cursor:
            # As a new installation of the server has it; the tests' is smaller.
            cursor.execute("SET GLOBAL innodb_buffer_pool_size = 134217728")
    stack.callback(connection.close)


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, default="mariadb")
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--sites", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=50, help="milliseconds")
    parser.add_argument(
        "--pages", nargs="+", default=[""], help="Those whose names begin so; all of them."
    )
    options = parser.parse_args()
    many = Size(options.nodes, options.sites, options.jobs)
    with ExitStack() as stack:
        set_up(stack, options.database)
        return _compare(many, options.runs, options.limit, tuple(options.pages))


def _compare(many: Size, runs: int, limit: float, wanted: tuple[str, ...]) -> int:
    from django.db import connection
    from django.db.backends.signals import connection_created

    stopwatch = Stopwatch()
    connection_created.connect(stopwatch.watch)
    stopwatch.watch(connection)
    fill(FEW)
    few = {
        (role.name, page): measure(stopwatch, role, path, 3, anew=page.endswith(ANEW))
        for role in people()
        for page, path in pages_of(role)
        if page.startswith(wanted)
    }
    began = time.monotonic()
    fill(many)
    print(f"{many}, filled in {time.monotonic() - began:.0f} s", flush=True)
    print(f"{'page':28}{'role':16}{'queries':>8}{'few rows':>9}{'ms':>9}{'least':>9}{'slowest':>9}")
    bad, slow = 0, {}
    for role in people():
        for page, path in pages_of(role):
            if (role.name, page) not in few:
                continue
            anew = page.endswith(ANEW)
            found, before = measure(stopwatch, role, path, runs, anew=anew), few[role.name, page]
            if found is None or before is None:
                continue
            verdict = []
            if found.queries > before.queries + page.startswith(MAYBE_EMPTY):
                verdict.append("more queries")
            if found.milliseconds > limit * (ANEW_FACTOR if anew else 1):
                verdict.append("slow")
            bad += bool(verdict)
            if found.slowest[0] > SLOW_MILLISECONDS:
                slow[f"{page} ({role.name})"] = found.slowest
            print(
                f"{page:28}{role.name:16}{found.queries:8}{before.queries:9}"
                f"{found.milliseconds:9.1f}{found.least:9.1f}{found.slowest[0]:9.1f}"
                f"  {', '.join(verdict)}",
                flush=True,
            )
    for name, (took, sql, params) in slow.items():
        # Without the columns, which are many.
        print(f"\n{name}: {took:.1f} ms\n{sql[sql.find(' FROM ') :]}")
        print(*explain(sql, params), sep="\n")
    print(f"\n{bad} pages are too slow or not constant" if bad else "\nall within the limits")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

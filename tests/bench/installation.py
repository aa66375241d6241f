"""What the benches of the cluster share: a cluster with the product's own settings, and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from tests.servers import server_directory
from tests.servers.cluster import Cluster
from tests.servers.mariadb import start_mariadb
from tests.servers.postgres import start_postgres
from tests.servers.redis import RedisServer

DATABASES = ("sqlite", "mariadb", "postgresql")
SCALED_FOR_TESTS = ("HOLDFAST_LEASE_SECONDS", "HOLDFAST_CLAIM_SECONDS")

MAKE_SITES = """
import json
from pathlib import Path
from backups.actions.jobs import start_backup
from backups.models import Node, Site, Storage
node = Node.objects.get()
folder = Path({folder!r})
(folder / "store").mkdir(exist_ok=True)
storage, _ = Storage.objects.get_or_create(
    name="folder", type="local", config={{"path": str(folder / "store")}}, is_default=True
)
ids = []
for number in range({number}):
    path = folder / f"{prefix}-{{number}}"
    (path / "wp-content").mkdir(parents=True)
    (path / "wp-content" / "index.php").write_text("<?php // Silence is golden.\\n")
    site = Site.objects.create(
        name=path.name, node=node, storage=storage, wp_path=str(path), **{fields!r}
    )
    ids.append(site.pk)
    if {start}:
        start_backup(site=site)
print(json.dumps(ids))
"""
EVENTS = """
import json
from backups.models import JobEvent
rows = JobEvent.objects.order_by("id").values_list("job_id", "kind", "stage", "created_at")
print(json.dumps([[str(job), kind, stage, at.timestamp()] for job, kind, stage, at in rows]))
"""


class BenchCluster(Cluster):
    """A cluster with the settings that a new installation has, not those scaled down for tests."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            name: value
            for name, value in super().environment.items()
            if name not in SCALED_FOR_TESTS
        }

    def ask(self, code: str) -> Any:
        """Run code in the panel's shell and return the JSON that it prints."""
        said = self.manage("shell", "--verbosity", "0", "-c", code).stdout
        return json.loads(said.strip().splitlines()[-1])

    def make_sites(
        self, prefix: str, number: int, *, start: bool = False, **fields: Any
    ) -> list[int]:
        """Make sites with almost nothing in them; with `start`, queue a backup of each."""
        code = MAKE_SITES.format(
            folder=str(self.directory), prefix=prefix, number=number, start=start,
            fields={"db_engine": "none", **fields},
        )  # fmt: skip
        ids: list[int] = self.ask(code)
        return ids

    def events(self) -> list[Event]:
        """Everything that happened, with the database's own times."""
        return [Event(*row) for row in self.ask(EVENTS)]


@dataclass(frozen=True)
class Event:
    """One line of the jobs' log."""

    job: str
    kind: str
    stage: str
    at: float


@contextmanager
def installation(database: str = "sqlite", slots: int = 2) -> Iterator[BenchCluster]:
    """Yield a cluster with a database of that kind, a Redis and a node; nothing of it runs yet."""
    with ExitStack() as stack:
        # Not in memory as the servers of the tests are: an installation is on a disk.
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="holdfast-bench-")))
        broker = RedisServer(stack.enter_context(server_directory("redis")))
        broker.start()
        stack.callback(broker.stop)
        cluster = BenchCluster(directory, database_url(stack, database, directory), broker.url)
        stack.callback(cluster.stop)
        cluster.set_up(directory)
        cluster.ask(f"from backups.models import Node; print(Node.objects.update(slots={slots}))")
        yield cluster


def database_url(stack: ExitStack, database: str, directory: Path) -> str:
    """Return the URL of an empty database of that kind, whose server ends with `stack`."""
    if database == "sqlite":
        return f"sqlite:///{directory / 'panel.sqlite3'}"
    if database == "mariadb":
        server = start_mariadb(stack)
        login = f"root:{quote(server.password, safe='')}"
        return f"mysql://{login}@127.0.0.1:{server.port}/{server.create_database()}"
    server = start_postgres(stack)
    login = f"{quote(server.user, safe='')}:{quote(server.password, safe='')}"
    return f"postgres://{login}@127.0.0.1:{server.port}/{server.create_database()}"

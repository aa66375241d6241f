"""What the tests of control do again and again: other storages, other sites, counting."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.rig import LOOK_SECONDS, Console, Rig
from tests.faults.trees import WorkerTree
from tests.servers.cluster import Cluster

_NUMBERS = count(1)


@contextlib.contextmanager
def stored_by_way_of(rig: Rig, port: int, site: int | None = None, **config: Any) -> Iterator[None]:
    """Let a site, the large one by default, be stored through a proxy before the S3 service."""
    site = site or rig.site
    body = {
        "name": f"proxy-{next(_NUMBERS)}",
        "type": "s3",
        "config": rig.s3.at(port).config(**config),
    }
    storage = rig.cluster.post("/api/v1/storage/providers", body)
    assert storage.status == 201, storage
    use_storage(rig, site, storage.body["id"])
    try:
        yield
    finally:
        use_storage(rig, site, None)


def use_storage(rig: Rig, site: int, storage: int | None) -> None:
    answer = rig.cluster.request("PATCH", f"/api/v1/sites/{site}", {"storage_id": storage})
    assert answer.status == 200, answer


@contextlib.contextmanager
def drained(rig: Rig) -> Iterator[None]:
    """Let no job of the node begin meanwhile."""
    for_now = f"/api/v1/nodes/{rig.node['id']}"
    assert rig.cluster.post(f"{for_now}/drain").status in (200, 202)
    try:
        yield
    finally:
        assert rig.cluster.post(f"{for_now}/resume").status in (200, 202)


def add_sites_with_the_large_ones_database(rig: Rig, number: int) -> list[int]:
    """Add sites that are small but for their database, which can be locked."""
    sites = []
    for _ in range(number):
        folder = rig.cluster.directory / f"locked-{next(_NUMBERS)}.example.com"
        (folder / "wp-content").mkdir(parents=True)
        (folder / "wp-content" / "index.php").write_text("<?php // Silence is golden.\n")
        (folder / "wp-config.php").write_text(rig.database.wp_config)
        sites.append(rig.add_site(folder))
    return sites


class Sampler:
    """Asks a question of the rows all the time, in a process of its own; a context manager."""

    def __init__(self, cluster: Cluster, question: str) -> None:
        self.answers: list[Any] = []
        self._console = Console(cluster)
        self._question = question
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            self.answers.append(self._console.ask(self._question))

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ending.set()
        self._thread.join()
        self._console.close()


def freeze(rig: Rig, tree: WorkerTree) -> None:
    """Stop all of a worker, not while it holds a lock on the rows: that is a fault of its own."""
    tree.freeze()
    while not rig.console.ask("writable"):
        tree.thaw()
        tree.freeze()


def at_once(work: Callable[[], Any], times: int) -> list[Any]:
    """Do one thing several times at the same moment, and return what each came to."""
    barrier, results = threading.Barrier(times), []

    def run() -> None:
        barrier.wait()
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == times
    return results


def files_below(folder: Path) -> list[str]:
    """The files below a folder, by their names from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

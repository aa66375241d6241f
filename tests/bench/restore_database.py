"""Compare the restore of a database with `zstd -dc | client` of the same dump.

    python -m tests.bench.restore_database [--mb 200] [--runs 5] [--engines mysql,postgresql,sqlite]

Fills a database with rows like a site's, dumps it, and compresses the dump. Then, in turn, the
client alone restores it into a new database, and the restorer loads it beside the live one and
switches. Prints the medians of wall time, of processors' time without the server's, and the ratio;
and what it costs to take all checksums, which is a dump to nowhere.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tests.contracts.database_subjects import SUBJECTS, Subject
from tests.contracts.restore_subjects import write
from tests.servers.mariadb import start_mariadb
from tests.servers.postgres import start_postgres
from workers.engine.databases import open_database, open_restorer
from workers.engine.databases.base import DatabaseSpec, DatabaseSwitch

FILLERS = {
    "mysql": "CREATE TABLE wp_posts (id INT PRIMARY KEY, title VARCHAR(200), body LONGTEXT,"
    " KEY (title)) ENGINE=InnoDB;"
    "INSERT INTO wp_posts SELECT seq, MD5(seq), REPEAT(SHA2(seq, 512), 8) FROM seq_1_to_{posts};"
    "CREATE TABLE wp_postmeta (id INT PRIMARY KEY, post INT, name VARCHAR(255), value LONGTEXT,"
    " KEY (post), KEY (name(191))) ENGINE=InnoDB;"
    "INSERT INTO wp_postmeta SELECT seq, seq DIV 10, CONCAT('_key_', seq % 97), MD5(seq)"
    " FROM seq_1_to_{metas};",
    "postgresql": "CREATE TABLE wp_posts (id int PRIMARY KEY, title varchar(200), body text);"
    "INSERT INTO wp_posts SELECT n, md5(n::text), repeat(md5(n::text), 32)"
    " FROM generate_series(1, {posts}) n; CREATE INDEX ON wp_posts (title);"
    "CREATE TABLE wp_postmeta (id int PRIMARY KEY, post int, name varchar(255), value text);"
    "INSERT INTO wp_postmeta SELECT n, n / 10, '_key_' || n % 97, md5(n::text)"
    " FROM generate_series(1, {metas}) n; CREATE INDEX ON wp_postmeta (post);",
    "sqlite": "CREATE TABLE wp_posts (id INTEGER PRIMARY KEY, title TEXT, body TEXT);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {posts})"
    " INSERT INTO wp_posts SELECT i, hex(randomblob(16)), hex(randomblob(512)) FROM n;"
    "CREATE INDEX titles ON wp_posts (title);"
    "CREATE TABLE wp_postmeta (id INTEGER PRIMARY KEY, post INT, name TEXT, value TEXT);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {metas})"
    " INSERT INTO wp_postmeta SELECT i, i / 10, '_key_' || (i % 97), hex(randomblob(16)) FROM n;"
    "CREATE INDEX posts ON wp_postmeta (post);",
}


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time, and of processors' time of this process and its clients."""

    wall: float
    work: float


def made(subject: Subject, engine: str, megabytes: int) -> DatabaseSpec:
    """Return a database of about that size, half of it long rows, half short ones."""
    spec = subject.create()
    write(subject, spec, FILLERS[engine].format(posts=megabytes * 450, metas=megabytes * 7000))
    return spec


def client_alone(subject: Subject, spec: DatabaseSpec, bundle: Path) -> None:
    """Restore as a person would, without this software."""
    server = getattr(subject, "server", None)
    environment = None
    if spec.engine == "mysql":
        argv = [*server.client_argv, "--default-character-set=utf8mb4", spec.name]
    elif spec.engine == "postgresql":
        argv, environment = [*server.client_argv, spec.name], server.client_environment
    else:
        argv = ["sqlite3", "-bail", spec.name]
    with subprocess.Popen(["zstd", "-dcq", str(bundle)], stdout=subprocess.PIPE) as unpacking:
        subprocess.run(
            argv, stdin=unpacking.stdout, env=environment, stdout=subprocess.DEVNULL, check=True
        )


def pieces(bundle: Path) -> Iterator[bytes]:
    """Yield the text as the bundle's reader does: decompressed in this process."""
    with bundle.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        while piece := reader.read(1 << 20):
            yield piece


def timed(work: Callable[[], object]) -> Cost:
    """Return what `work` takes; of its processors' time, the server's is left out."""
    before, began = os.times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, os.times()
    return Cost(wall, sum(after[:4]) - sum(before[:4]))


def median(costs: list[Cost]) -> Cost:
    """Return the medians of both."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.work for cost in costs),
    )


def measure(engine: str, subject: Subject, folder: Path, megabytes: int, runs: int) -> None:
    """Print the figures of one engine."""
    spec = made(subject, engine, megabytes)
    scratch = folder / f"{engine}-scratch"
    scratch.mkdir(mode=0o700)
    bundle = folder / f"{engine}.sql.zst"
    size = write_bundle(spec, scratch, bundle)
    costs: dict[str, list[Cost]] = {"zstd -dc | client": [], "prepare": [], "switch": []}
    restorer = open_restorer(spec)
    for run in range(runs):
        target = subject.create()
        costs["zstd -dc | client"].append(
            timed(lambda target=target: client_alone(subject, target, bundle))
        )
        found: list[DatabaseSwitch] = []
        prepare = functools.partial(
            restorer.prepare, pieces(bundle), label=f"r{run}", scratch_directory=str(scratch)
        )
        costs["prepare"].append(timed(lambda found=found, prepare=prepare: found.append(prepare())))
        [switch] = found
        costs["switch"].append(timed(switch.switch))
        switch.discard()
    alone, prepared, switched = (median(each) for each in costs.values())
    print(f"{engine}: {size / 1e6:.0f} MB of SQL")
    for name, each in costs.items():
        cost = median(each)
        print(f"  {name:18} {cost.wall:6.2f} s, processors {cost.work:6.2f} s")
    sums = timed(lambda: open_database(spec).checksums(scratch_directory=str(scratch)))
    print(f"  {'checksums':18} {sums.wall:6.2f} s, processors {sums.work:6.2f} s")
    print(
        f"  ratio of prepare and switch: {(prepared.wall + switched.wall) / alone.wall:.2f},"
        f" of prepare alone: {prepared.wall / alone.wall:.2f}",
        flush=True,
    )


def write_bundle(spec: DatabaseSpec, scratch: Path, bundle: Path) -> int:
    """Write the compressed dump; return how long its text is."""
    with (
        open_database(spec).dump(scratch_directory=str(scratch)) as dump,
        bundle.open("wb") as file,
        zstandard.ZstdCompressor(3).stream_writer(file) as writer,
    ):
        for piece in dump:
            if isinstance(piece, bytes):
                writer.write(piece)
    return dump.facts().bytes_total


def main() -> None:
    """Measure the engines that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--engines", default=",".join(FILLERS))
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        starts = {"mysql": start_mariadb, "postgresql": start_postgres}
        for engine in options.engines.split(","):
            place = starts[engine](stack) if engine in starts else folder
            measure(engine, SUBJECTS[engine](place), folder, options.mb, options.runs)


if __name__ == "__main__":
    main()

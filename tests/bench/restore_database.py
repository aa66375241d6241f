"""Compare the restore of a database with `zstd -dc | client` of the same dump.

    python -m tests.bench.restore_database [--mb 200] [--runs 5] [--engines mysql,postgresql,sqlite]

Fills a database with rows like a site's, dumps it, and compresses the dump. Then, in turn, the
client alone restores it into a new database, and the restorer loads it beside the live one and
switches. Prints the medians of wall time and their ratio; and what the checksums cost: a dump to
nowhere with them, and one by the tool alone.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import zstandard

from tests.contracts.database_subjects import SUBJECTS, Subject
from tests.contracts.restore_subjects import write
from tests.servers.mariadb import start_mariadb
from tests.servers.postgres import start_postgres
from workers.engine.databases import open_database, open_restorer
from workers.engine.databases.base import DatabaseSpec

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


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(engine: str, subject: Subject, folder: Path, megabytes: int, runs: int) -> None:
    """Print the figures of one engine."""
    spec = made(subject, engine, megabytes)
    scratch = folder / f"{engine}-scratch"
    scratch.mkdir(mode=0o700)
    bundle = folder / f"{engine}.sql.zst"
    with (
        open_database(spec).dump(scratch_directory=str(scratch)) as dump,
        bundle.open("wb") as file,
        zstandard.ZstdCompressor(3).stream_writer(file) as writer,
    ):
        for piece in dump:
            if isinstance(piece, bytes):
                writer.write(piece)
    size = dump.facts().bytes_total
    alone, ours, prepared, switched = [], [], [], []
    for run in range(runs):
        target = subject.create()
        alone.append(timed(lambda target=target: client_alone(subject, target, bundle)))
        restorer, made_switch = open_restorer(spec), []
        prepared.append(
            timed(
                lambda run=run, restorer=restorer, found=made_switch: found.append(
                    restorer.prepare(
                        pieces(bundle), label=f"r{run}", scratch_directory=str(scratch)
                    )
                )
            )
        )
        [switch] = made_switch
        switched.append(timed(switch.switch))
        ours.append(prepared[-1] + switched[-1])
        switch.discard()
    plain, with_sums = statistics.median(alone), statistics.median(ours)
    sums = timed(lambda: open_database(spec).checksums(scratch_directory=str(scratch)))
    print(
        f"{engine:11} {size / 1e6:7.0f} MB of SQL: zstd -dc | client {plain:6.2f} s,"
        f" prepare {statistics.median(prepared):6.2f} s + switch"
        f" {statistics.median(switched):5.2f} s, ratio {with_sums / plain:.2f};"
        f" checksums {sums:.2f} s",
        flush=True,
    )


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

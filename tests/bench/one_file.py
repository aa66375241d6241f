"""One file out of a large bundle on S3, against restoring all of it: bytes and time.

    python -m tests.bench.one_file [--site-mb 300] [--runs 3] [--s3rver node_modules/.bin/s3rver]

The tests' own S3 server, moto, reads a whole object for each request, which says nothing of large
ones: for these name s3rver (`npm install s3rver@3.7.1`), which reads what it is asked for.

Makes the site of `tests.bench.bundle`, stores its bundle in an S3 server, then restores a file of
100 KB and the whole site in turn: fetched, compared, extracted beside an old one, exchanged. Prints
the medians and their ratio.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.bundle import make_site, run
from tests.bench.restore import BUILD
from tests.servers import Daemon, accepts, free_port
from tests.servers.moto import S3Server, running_moto
from workers.engine import endpoints
from workers.engine.bundle import BundleReader, verify
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.restore.files import RestoreRoot, parts_of, prepare_files
from workers.engine.restore.journal import Journal
from workers.engine.sources import ByteSource, FilesSource
from workers.engine.stores import open_store
from workers.stages.fetch_bundle import copy

KEY = "site.tar.zst"
FILE_BYTES = 100_000
FILE_PATH = "wp-content/uploads/2020/05/wanted.jpg"
MIB = 1 << 20


@contextmanager
def running_s3rver(program: Path, folder: Path) -> Iterator[S3Server]:
    """Yield a running s3rver with one bucket, which keeps its objects in `folder`."""
    server = S3Server(free_port(), "backups", "S3RVER", "S3RVER")
    argv = [str(program), "--silent", "--directory", str(folder), "--no-vhost-buckets"]
    place = ["--address", "127.0.0.1", "--port", str(server.port)]
    daemon = Daemon([*argv, *place, "--configure-bucket", server.bucket], log=folder / "log")
    daemon.start(lambda: accepts(server.port))
    try:
        yield server
    finally:
        daemon.kill()


def restore(source: ByteSource, out: Path, paths: list[str]) -> int:
    """Restore the paths, or everything, and return how many bytes were fetched."""
    reader = BundleReader(source)
    roots = [RestoreRoot("wp-content", out / "wp-content")]
    parts = parts_of(reader, roots, paths)
    switches = prepare_files(
        reader, parts, label="bench", excludes=Excludes(), reporter=SilentReporter()
    )
    journal = Journal(out.with_name("journal"))
    journal.commit(switches)
    journal.settle(FileSwitch.from_record)
    return reader.bytes_fetched


def measure(server: S3Server, bundle: Path, tree: Path, work: Path, runs: int) -> None:
    """Store the bundle, restore in turn, print."""
    endpoints.allow_local(True)
    store = open_store("s3", server.config(part_size=64 * MIB))
    reporter = SilentReporter()
    with FilesSource([bundle]) as source:
        sha256 = verify(source, reporter=reporter).sha256
    with bundle.open("rb") as body:
        # In one request: s3rver fails to put together the parts of what is large.
        server.client().put_object(Bucket=server.bucket, Key=KEY, Body=body)
    whole: list[float] = []
    one: list[float] = []
    fetched = 0
    out = work / "out"
    for _ in range(runs):
        out.mkdir()
        os.sync()
        began = time.perf_counter()
        spooled = work / "spooled"
        assert copy(store.open(KEY), spooled, reporter) == sha256
        with FilesSource([spooled]) as source:
            restore(source, out, [])
        whole.append(time.perf_counter() - began)
        spooled.unlink()
        (out / FILE_PATH).write_bytes(b"defaced")
        os.sync()
        began = time.perf_counter()
        fetched = restore(store.open(KEY), out, [FILE_PATH])
        one.append(time.perf_counter() - began)
        assert (out / FILE_PATH).read_bytes() == (tree / "uploads/2020/05/wanted.jpg").read_bytes()
        shutil.rmtree(out)
    size = bundle.stat().st_size
    share = statistics.median(one) / statistics.median(whole)
    print(f"bundle of {size / MIB:.0f} MiB, {runs} runs, load {os.getloadavg()[0]:.1f}")
    print(f"all of it: {statistics.median(whole):8.2f} s")
    print(f"one file:  {statistics.median(one):8.2f} s, {100 * share:.1f} % of that")
    print(f"fetched for one file of {FILE_BYTES} bytes: {fetched} bytes, {fetched / MIB:.2f} MiB")


def main() -> None:
    """Prepare the input and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=300)
    parser.add_argument("--s3rver", type=Path, help="its program, to take instead of moto")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, ExitStack() as stack:
        work = Path(folder)
        tree = work / "tree"
        make_site(tree, options.site_mb)
        wanted = tree / "uploads/2020/05/wanted.jpg"
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.write_bytes(os.urandom(FILE_BYTES))
        bundle = work / "bundle"
        run([sys.executable, "-c", BUILD, str(tree), str(bundle)])
        start = running_moto
        if options.s3rver:
            (work / "s3").mkdir()
            start = functools.partial(running_s3rver, options.s3rver.absolute(), work / "s3")
        measure(stack.enter_context(start()), bundle, tree, work, options.runs)


if __name__ == "__main__":
    main()

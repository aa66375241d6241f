"""Measure what encryption costs: time beside the sealing of a bundle, and bytes for one file of it.

    python -m tests.bench.encryption [--site-mb 1000] [--runs 5] [--folder DIR]

Prepares the site of `tests.bench.bundle`, adds one file of 100 KB, and makes a bundle of it as the
stages do. Prints the medians of wall time and of processors' time for: writing the bundle (read the
tree, compress, seal), reading it back, encrypting it (which reads it back too), and, to compare,
the program `age`, which does not. Then what is fetched for the one file, of the plain and of the
encrypted bundle, in bytes and in reads, each of which is a request to S3.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import pyrage

from tests.bench.bundle import READ_BACK, WRITER, Cost, make_site, python, run, shell
from workers.engine.age import AgeSource, encrypt, identity_of
from workers.engine.bundle import BundleReader
from workers.engine.progress import SilentReporter
from workers.engine.sources import ByteSource, FilesSource

ONE_FILE_BYTES = 100_000
ENCRYPT = """
import sys
from pathlib import Path
from workers.engine.age import encrypt
from workers.engine.progress import SilentReporter
out = Path(sys.argv[2])
encrypt([out / name / "segment" for name in ("files", "seal")], out / "encrypted",
        [sys.argv[3]], SilentReporter())
"""


class CountingSource:
    """A source that counts the reads and their bytes, as a store would be asked for them."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.reads = 0
        self.bytes = 0

    @property
    def size(self) -> int:
        """The number of bytes in all."""
        return self._source.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`."""
        data = self._source.read_at(offset, length)
        self.reads += 1
        self.bytes += len(data)
        return data


def measure_time(tree: Path, work: Path, runs: int, recipient: str) -> int:
    """Print what each step takes; leave the last bundle in `work`, and return its size."""
    costs: dict[str, list[Cost]] = {}
    out, size = work / "out", 0
    for _ in range(runs):
        shutil.rmtree(out, ignore_errors=True)
        os.sync()
        costs.setdefault("write the bundle", []).append(python(WRITER, "0")(tree, out))
        size = sum((out / name / "segment").stat().st_size for name in ("files", "seal"))
        costs.setdefault("read it back", []).append(
            run([sys.executable, "-c", READ_BACK, str(out)])
        )
        costs.setdefault("encrypt, read back", []).append(python(ENCRYPT, recipient)(tree, out))
        if shutil.which("age"):
            script = f'cat "$2"/files/segment "$2"/seal/segment | age -r {recipient} > "$2/a.age"'
            costs.setdefault("age, unproven", []).append(
                shell(f'{script}; sync "$2/a.age"')(tree, out)
            )
    plain = sum(statistics.median(one.wall for one in costs[name]) for name in list(costs)[:2])
    print(f"a bundle of {size / 1e6:.0f} MB, {runs} runs, load {os.getloadavg()[0]:.1f}")
    print(f"{'':22}{'wall s':>8}{'CPU s':>8}{'MB/s':>7}{'of plain':>10}{'peak MB':>9}")
    for name, found in costs.items():
        wall = statistics.median(one.wall for one in found)
        worked = statistics.median(one.work for one in found)
        peak = max(one.memory for one in found)
        print(f"{name:22}{wall:8.2f}{worked:8.2f}{size / 1e6 / wall:7.0f}", end="")
        print(f"{wall / plain:10.2f}{peak / 1e6:9.0f}", flush=True)
    return size


def measure_fetching(work: Path, identity: pyrage.x25519.Identity, path: str) -> None:
    """Print what is fetched for one file."""
    parts = [work / "out" / name / "segment" for name in ("files", "seal")]
    target = work / "one.age"
    encrypt(parts, target, [str(identity.to_public())], SilentReporter())
    found = {}
    print(f"\n{'one file of 100 KB':22}{'bytes':>10}{'reads':>7}{'of the bundle':>15}")
    for name, paths in (("plain", parts), ("encrypted", [target])):
        with FilesSource(paths) as files:
            counting = CountingSource(files)
            source: ByteSource = counting
            if name == "encrypted":
                source = AgeSource(counting, [identity_of(str(identity))])
            content = b"".join(BundleReader(source).read(path))
            assert len(content) == ONE_FILE_BYTES
            found[name] = counting.bytes
            share = counting.bytes / counting.size
            print(f"{name:22}{counting.bytes:10}{counting.reads:7}{share:15.2%}")
    print(f"{'ratio':22}{found['encrypted'] / found['plain']:10.3f}")


def main() -> None:
    """Prepare the input and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to keep the input for another time")
    options = parser.parse_args()
    identity = pyrage.x25519.Identity.generate()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as temporary:
        tree = (options.folder or Path(temporary)) / f"site-{options.site_mb}"
        if not tree.exists():
            make_site(tree, options.site_mb)
        one = tree / "uploads" / "one-file.jpg"
        one.write_bytes(random.Random(5).randbytes(ONE_FILE_BYTES))
        measure_time(tree, Path(temporary), options.runs, str(identity.to_public()))
        measure_fetching(Path(temporary), identity, f"wp-content/{one.relative_to(tree)}")


if __name__ == "__main__":
    main()

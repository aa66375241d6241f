"""Compare the bundle's writer with other ways to back up the same tree.

    python -m tests.bench.bundle [--site-mb 2000] [--small-files 50000] [--runs 5] [--folder DIR]

Prepares a site (code, and media that does not compress) and a tree of small files, always the same
bytes for the same options, then runs every contender in turn, `--runs` rounds, output in the page
cache. Prints the medians of wall time and of processors' time (which other load on the machine
disturbs less), their ratios to `tar -cf - | zstd -T0 -3`, the size of what was written, and the
most memory: the resident set sizes of all processes added up (pages that they share count more
than once), sampled every 20 ms. "holdfast" is the tree, the manifest and the index, synced to the
disk; reading all of it back is shown on its own.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_SECONDS = 0.02
BASELINE = "tar | zstd -T0 -3"
OURS = "holdfast"
READ_BACK_NAME = "holdfast: read back"

WRITER = """
import sys
from pathlib import Path
from workers.engine.bundle import TreeRoot, write_seal, write_tree
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
tree, out = Path(sys.argv[1]), Path(sys.argv[2])
readers = int(sys.argv[3]) or None
for name in ("files", "seal"):
    (out / name).mkdir(parents=True)
reporter = SilentReporter()
write_tree(out / "files", [TreeRoot(tree, "wp-content")], excludes=Excludes(),
           reporter=reporter, readers=readers)
write_seal(out / "seal", [out / "files"], facts={}, reporter=reporter)
"""
READ_BACK = """
import sys
from pathlib import Path
from workers.engine.bundle import verify
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource
out = Path(sys.argv[1])
with FilesSource([out / name / "segment" for name in ("files", "seal")]) as source:
    verify(source, reporter=SilentReporter())
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time and of processors' time, and bytes of memory at most."""

    wall: float
    work: float
    memory: int


Contender = Callable[[Path, Path], Cost]


def make_text(generator: random.Random, size: int) -> bytes:
    """Return `size` bytes that compress about like source code."""
    letters = "abcdefghijklmnopqrstuvwxyz_"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 12))) for _ in range(6000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    ends = generator.choices([" ", "(", "); ", " = ", "\n\t", ";\n", "->", ", '"], k=4096)
    chosen = generator.choices(words, weights, k=size // 6)
    text = "".join([word + ends[number & 4095] for number, word in enumerate(chosen)]).encode()
    return (text * (size // len(text) + 1))[:size]


def make_site(folder: Path, megabytes: int) -> None:
    """Make a site: a fifth of it code in files of 1-40 KB, the rest media of 20 KB-6 MB."""
    generator = random.Random(1)
    text = make_text(generator, 32 << 20)
    code, media = megabytes * 200_000, megabytes * 800_000
    number = 0
    while code > 0:
        target = folder / "plugins" / f"p{number // 400:03}" / f"d{number // 25 % 16}"
        target.mkdir(parents=True, exist_ok=True)
        size = int(generator.triangular(1_000, 40_000, 6_000))
        start = generator.randrange(len(text) - size)
        (target / f"class-{number}.php").write_bytes(text[start : start + size])
        code -= size
        number += 1
    while media > 0:
        target = folder / "uploads" / f"20{number // 400 % 10 + 15}" / f"{number // 40 % 12:02}"
        target.mkdir(parents=True, exist_ok=True)
        size = int(min(6e6, 20_000 * generator.paretovariate(0.7)))
        (target / f"image-{number}.jpg").write_bytes(generator.randbytes(size))
        media -= size
        number += 1


def make_small(folder: Path, files: int) -> None:
    """Make many files of 1-20 KB of text."""
    generator = random.Random(2)
    text = make_text(generator, 32 << 20)
    for number in range(files):
        target = folder / f"d{number // 2000:02}" / f"e{number // 100 % 20:02}"
        target.mkdir(parents=True, exist_ok=True)
        size = generator.randint(1_000, 20_000)
        start = generator.randrange(len(text) - size)
        (target / f"file-{number}.txt").write_bytes(text[start : start + size])


def sample_memory(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    """Keep the most memory that the process and its children had together."""
    leader = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for each in [leader, *leader.children(recursive=True)]:
                total += each.memory_info().rss
        except psutil.Error:
            pass
        peak[0] = max(peak[0], total)
        time.sleep(SAMPLE_SECONDS)


def processor_seconds() -> float:
    """Return how long processors worked for the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(argv: list[str]) -> Cost:
    """Run to the end; return what it cost."""
    peak = [0]
    began = time.perf_counter()
    worked = processor_seconds()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=ROOT)
    sampler = threading.Thread(target=sample_memory, args=(process, peak))
    sampler.start()
    status = process.wait()
    seconds = time.perf_counter() - began
    sampler.join()
    if status:
        raise SystemExit(f"{argv[0]} ended with {status}")
    return Cost(seconds, processor_seconds() - worked, peak[0])


def shell(script: str) -> Contender:
    """Return a contender that is a script of the shell with $1 the tree and $2 the output."""
    return lambda tree, out: run(["bash", "-ec", script, "bash", str(tree), str(out)])


def python(script: str, *more: str) -> Contender:
    """Return a contender that is ours."""
    return lambda tree, out: run([sys.executable, "-c", script, str(tree), str(out), *more])


def contenders(readers: int, others: bool) -> dict[str, Contender]:
    """Return what competes here, by name."""
    found = {
        OURS: python(WRITER, str(readers)),
        BASELINE: shell(
            'mkdir -p "$2"; tar -C "$1" -cf - . | zstd -q -T0 -3 > "$2/a.zst"; sync "$2/a.zst"'
        ),
    }
    if not others:
        return found
    found["cp -a; tar -I 'zstd -T0'"] = shell(
        'mkdir -p "$2"; cp -a "$1" "$2/copy"; tar -C "$2/copy" -I "zstd -T0" -cf "$2/a.zst" .'
    )
    if shutil.which("restic"):
        found["restic"] = shell(
            "export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$2/cache; "
            'restic -q -r "$2/r" init; restic -q -r "$2/r" backup "$1"'
        )
    if shutil.which("borg"):
        found["borg (zstd,3)"] = shell(
            "export BORG_BASE_DIR=$2/base; mkdir -p $2; "
            'borg init -e none "$2/r"; borg create -C zstd,3 "$2/r::a" "$1"'
        )
    return found


def size_of(folder: Path) -> int:
    """Return how many bytes were written, without copies that are only on the way."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "copy" not in path.parts and "cache" not in path.parts
    )


def measure(title: str, tree: Path, work: Path, options: argparse.Namespace) -> None:
    """Run all contenders in turn and print the table."""
    everyone = contenders(options.readers, not options.ours_only)
    costs: dict[str, list[Cost]] = {name: [] for name in [*everyone, READ_BACK_NAME]}
    sizes: dict[str, int] = {}
    run(["bash", "-c", 'tar -C "$1" -cf - . | cat > /dev/null', "bash", str(tree)])
    names, shuffle = list(everyone), random.Random(3).shuffle
    for _ in range(options.runs):
        # Who copies trees leaves a page cache that doubles the time of whoever writes next, and
        # unwritten pages besides: so the order changes, and all is written before each turn.
        shuffle(names)
        for name in names:
            out = work / "out"
            os.sync()
            costs[name].append(everyone[name](tree, out))
            sizes[name] = size_of(out)
            if name == OURS:
                costs[READ_BACK_NAME].append(run([sys.executable, "-c", READ_BACK, str(out)]))
            shutil.rmtree(out)
    print(f"\n{title}, {options.runs} runs, load {os.getloadavg()[0]:.1f}")
    print(f"{'':26}{'wall s':>8}{'ratio':>7}{'min':>7}{'max':>7}", end="")
    print(f"{'CPU s':>8}{'ratio':>7}{'MB out':>8}{'peak MB':>9}")
    base_wall = statistics.median(cost.wall for cost in costs[BASELINE])
    base_work = statistics.median(cost.work for cost in costs[BASELINE])
    for name, runs in costs.items():
        wall = [cost.wall for cost in runs]
        work_done = statistics.median(cost.work for cost in runs)
        print(
            f"{name:26}{statistics.median(wall):8.2f}{statistics.median(wall) / base_wall:7.2f}"
            f"{min(wall):7.2f}{max(wall):7.2f}{work_done:8.2f}{work_done / base_work:7.2f}"
            f"{sizes.get(name, 0) / 1e6:8.0f}{max(cost.memory for cost in runs) / 1e6:9.0f}",
            flush=True,
        )


def main() -> None:
    """Prepare the inputs and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=2000, help="0 leaves the site out")
    parser.add_argument("--small-files", type=int, default=50_000, help="0 leaves them out")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--readers", type=int, default=0, help="0: as by default")
    parser.add_argument("--ours-only", action="store_true", help="only ours and the baseline")
    parser.add_argument("--folder", type=Path, help="where to keep the inputs for another time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as temporary:
        inputs = options.folder or Path(temporary)
        for kind, amount, make in (
            ("site", options.site_mb, make_site),
            ("small", options.small_files, make_small),
        ):
            if not amount:
                continue
            tree = inputs / f"{kind}-{amount}"
            if not tree.exists():
                make(tree, amount)
            measure(f"{kind} ({amount})", tree, Path(temporary), options)


if __name__ == "__main__":
    main()

"""Compare a restore of a site's files with unpacking the same bundle by hand.

    python -m tests.bench.restore [--site-mb 1000] [--small-files 30000] [--runs 5] [--folder DIR]

Prepares the trees of `tests.bench.bundle`, makes a bundle of each, then restores it in turn with
every contender, `--runs` rounds, the bundle in the page cache and all that was written before on
the disk. Prints the medians of wall time and of processors' time and their ratios to
`zstd -dc | tar -x`, which checks no file's content. Each ends with what it wrote on the disk.
"holdfast" is the whole restore in place of a tree that is there: extracted beside it with every
checksum compared, exchanged, journal settled. The old tree, of which hard links are made, costs
its removal; "holdfast: beside" stops before the exchange, where tar does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.bundle import Cost, make_site, make_small, python, run, shell

BASELINE = "zstd -dc | tar -x"
BASELINE_SCRIPT = 'mkdir -p "$2"; zstd -q -dc "$1" | tar -C "$2" -xpf -; sync -f "$2"'
OURS, BESIDE = "holdfast", "holdfast: beside"

BUILD = """
import sys
from pathlib import Path
from workers.engine.bundle import TreeRoot, seal, write_tree
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource, chunks_of
tree, out = Path(sys.argv[1]), Path(sys.argv[2])
parts = [out.with_name(out.name + "-" + name) for name in ("files", "seal")]
for part in parts:
    part.mkdir()
reporter = SilentReporter()
write_tree(parts[0], [TreeRoot(tree, "wp-content")], excludes=Excludes(), reporter=reporter)
sealed = seal(parts[1], parts[:1], facts={}, reporter=reporter)
with FilesSource(sealed.paths) as source, out.open("wb") as file:
    file.writelines(chunks_of(source))
"""
RESTORE = """
import sys
from pathlib import Path
from workers.engine.bundle import BundleReader
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.restore.file_switch import FileSwitch
from workers.engine.restore.files import RestoreRoot, parts_of, prepare_files
from workers.engine.restore.journal import Journal
from workers.engine.sources import FilesSource
bundle, out, switches_too = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "yes"
with FilesSource([bundle]) as source:
    reader = BundleReader(source)
    parts = parts_of(reader, [RestoreRoot("wp-content", out / "wp-content")], [])
    switches = prepare_files(reader, parts, label="bench", excludes=Excludes(),
                             reporter=SilentReporter())
if switches_too:
    journal = Journal(out.with_name("journal"))
    journal.commit(switches)
    journal.settle(FileSwitch.from_record)
"""


def contenders() -> dict[str, tuple[bool, object]]:
    """Return what competes by name: whether an old tree stands there, and how to run it."""
    return {
        OURS: (True, python(RESTORE, "yes")),
        BESIDE: (False, python(RESTORE, "no")),
        BASELINE: (False, shell(BASELINE_SCRIPT)),
    }


def stand(tree: Path, out: Path, is_there: bool) -> None:
    """Have what is to be replaced stand there."""
    out.mkdir()
    if is_there:
        shutil.copytree(tree, out / "wp-content", copy_function=os.link, symlinks=True)


def measure(title: str, tree: Path, work: Path, runs: int) -> None:
    """Restore in turn with all and print the table."""
    bundle = work / "bundle"
    run([sys.executable, "-c", BUILD, str(tree), str(bundle)])
    costs: dict[str, list[Cost]] = {name: [] for name in contenders()}
    order = list(contenders().items())
    for turn in range(runs):
        # Nobody always comes after the same one.
        for name, (is_there, contender) in order[turn % 3 :] + order[: turn % 3]:
            out = work / "out"
            stand(tree, out, is_there)
            os.sync()
            costs[name].append(contender(bundle, out))  # type: ignore[operator]
            shutil.rmtree(out)
    show(f"{title}, {bundle.stat().st_size / 1e6:.0f} MB, {runs} runs", costs)


def show(title: str, costs: dict[str, list[Cost]]) -> None:
    """Print medians and their ratios to the baseline."""
    print(f"\n{title}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':20}{'wall s':>8}{'ratio':>7}{'min':>7}{'max':>7}{'CPU s':>8}{'ratio':>7}{'MB':>6}")
    base = costs[BASELINE]
    base_wall = statistics.median(cost.wall for cost in base)
    base_work = statistics.median(cost.work for cost in base)
    for name, each in costs.items():
        wall = [cost.wall for cost in each]
        work = statistics.median(cost.work for cost in each)
        print(
            f"{name:20}{statistics.median(wall):8.2f}{statistics.median(wall) / base_wall:7.2f}"
            f"{min(wall):7.2f}{max(wall):7.2f}{work:8.2f}{work / base_work:7.2f}"
            f"{max(cost.memory for cost in each) / 1e6:6.0f}",
            flush=True,
        )


def main() -> None:
    """Prepare the inputs and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site-mb", type=int, default=1000, help="0 leaves the site out")
    parser.add_argument("--small-files", type=int, default=30_000, help="0 leaves them out")
    parser.add_argument("--runs", type=int, default=5)
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
            with tempfile.TemporaryDirectory(dir=temporary) as work:
                measure(f"{kind} ({amount})", tree, Path(work), options.runs)


if __name__ == "__main__":
    main()

"""Bundles from somebody who means harm: named in an error, the site and all around it unharmed."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.bundle.conftest import build_bundle, write
from tests.workers.engine.bundle.crafting import Bytes, Crafted, Piece, frame, line_of, pack
from tests.workers.engine.bundle.trees import describe
from tests.workers.engine.restore.conftest import leftovers, make_switch
from workers.engine.bundle import BundleReader, verify
from workers.engine.bundle.container import FOOTER_BYTES, new_compressor
from workers.engine.bundle.tarheader import Entry, build_header
from workers.engine.errors import EngineError
from workers.engine.excludes import Excludes
from workers.engine.progress import SilentReporter
from workers.engine.restore.files import RestoreRoot, parts_of, planned, prepare_files
from workers.engine.restore.journal import Journal
from workers.engine.restore.plan import plan_files
from workers.engine.sources import ByteSource

Made = tuple[Entry, bytes]
GOOD: Made = (Entry(b"wp-content/good.php", size=5), b"hello")
TOP: Made = (Entry(b"wp-content", kind=b"5", mode=0o755), b"")


class Host:
    """A site, and beside it what no restore of it may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "www" / "site"
        self.outside = folder / "outside"
        write(self.site / "wp-content" / "index.php", b"<?php // present")
        write(self.site / "wp-content" / "uploads" / "a.jpg", b"present")
        write(self.site / "wp-config.php", b"<?php // config")
        write(self.outside / "secret", b"secret")
        self.before = self.now()

    def now(self) -> dict[bytes, tuple[object, ...]]:
        return describe(self.folder)

    def restore(self, source: ByteSource, paths: Sequence[str] = ()) -> EngineError | None:
        """Restore as a job does; return the error that it would end with."""
        bundle, journal = BundleReader(source), Journal(self.folder / "journal")
        excludes, reporter = Excludes(["cache/"]), SilentReporter()
        roots = [
            RestoreRoot("wp-content", self.site / "wp-content"),
            RestoreRoot("wp-config.php", self.site / "wp-config.php"),
        ]
        try:
            parts = parts_of(bundle, roots, paths)
            plan_files(bundle, parts, excludes=excludes, reporter=reporter)
            journal.announce(planned(parts, "job"))
            switches = prepare_files(
                bundle, parts, label="job", excludes=excludes, reporter=reporter
            )
            journal.commit(switches)
        except EngineError as error:
            return error
        finally:
            journal.settle(make_switch)
            assert leftovers(self.folder) == []
        return None

    def assert_unharmed(self) -> None:
        assert self.now().items() - {(b".", self.now()[b"."])} == self.before.items() - {
            (b".", self.before[b"."])
        }

    def assert_outside_unharmed(self) -> None:
        assert {path: value for path, value in self.now().items() if b"outside" in path} == {
            path: value for path, value in self.before.items() if b"outside" in path
        }

    def refuses(self, source: ByteSource, paths: Sequence[str] = ()) -> EngineError:
        error = self.restore(source, paths)
        assert error is not None
        assert error.permanent
        self.assert_unharmed()
        return error


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def link(path: bytes, aim: bytes | Path) -> Made:
    return Entry(path, kind=b"2", link=os.fsencode(aim)), b""


def hard(path: bytes, aim: bytes) -> Made:
    return Entry(path, kind=b"1", link=aim), b""


def crafted(*members: Made, **lies: Any) -> Bytes:
    return Crafted([*members, TOP], **lies).build()


def test_a_crafted_bundle_is_restored_when_nothing_in_it_lies(host: Host) -> None:
    assert host.restore(crafted(GOOD)) is None
    assert os.listdir(host.site / "wp-content") == ["good.php"]
    host.assert_outside_unharmed()


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5"])
@pytest.mark.parametrize(
    "path",
    [
        b"wp-content/../../../outside/new",
        b"wp-content/..",
        b"wp-content/./new",
        b"wp-content//new",
        b"wp-content//etc/new",
        b"wp-content/link/new",
    ],
)
def test_a_path_is_refused_when_it_leads_out(host: Host, path: bytes, kind: bytes) -> None:
    aim = b"wp-content/good.php" if kind in b"12" else b""
    source = crafted(
        GOOD, link(b"wp-content/link", host.outside), (Entry(path, kind=kind, link=aim), b"")
    )
    assert host.refuses(source).code == "unsafe_path"


@pytest.mark.parametrize("path", [b"/etc/new", b"../outside/new", b"..", b"outside/new", b"x"])
def test_what_belongs_to_no_part_of_the_site_is_left_in_the_bundle(host: Host, path: bytes) -> None:
    assert host.restore(crafted(GOOD, (Entry(path, size=4), b"evil"))) is None
    host.assert_outside_unharmed()
    assert sorted(os.listdir(host.site)) == ["wp-config.php", "wp-content"]


@pytest.mark.parametrize(
    "path",
    [
        "wp-content/../wp-config.php",
        "wp-content/../../../outside/secret",
        "wp-content//uploads",
        "/etc/passwd",
        "..",
        "",
        "outside/secret",
    ],
)
def test_a_chosen_path_is_refused_when_it_leads_out(host: Host, path: str) -> None:
    source = crafted(GOOD, (Entry(os.fsencode(path) or b"x", size=4), b"evil"))
    assert host.refuses(source, [path]).code == "path_not_restorable"


@pytest.mark.parametrize(
    "aim",
    [
        b"/etc/hostname",
        b"../../outside/secret",
        b"wp-content/link/secret",
        b"wp-content/link",
        b"wp-content",
        b"wp-content/uploads/a.jpg",
        b"wp-config.php",
    ],
)
def test_a_hard_link_is_refused_when_it_leads_to_no_file_of_the_bundle(
    host: Host, aim: bytes
) -> None:
    source = crafted(GOOD, link(b"wp-content/link", host.outside), hard(b"wp-content/stolen", aim))
    error = host.restore(source)
    if aim == b"wp-content/link":
        # A second name of the link itself, which leads nobody further than the link does.
        assert error is None or error.code == "unsafe_path"
        host.assert_outside_unharmed()
        return
    assert error is not None
    assert error.code == "unsafe_path"
    host.assert_unharmed()


@pytest.mark.parametrize("make", [lambda aim: link(b"wp-content", aim), lambda aim: hard(
    b"wp-content", os.fsencode(aim))])  # fmt: skip
def test_a_root_is_refused_when_it_is_a_link(host: Host, make: Any) -> None:
    assert host.refuses(Crafted([GOOD, make(host.outside)]).build()).code == "bundle_damaged"
    error = host.refuses(Crafted([GOOD, make(host.outside)]).build(), ["wp-content"])
    assert error.code == "bundle_damaged"


def test_a_link_is_only_a_link_when_it_leads_outside(host: Host) -> None:
    """Sites have such links, and so do backups of them: nothing is done through one."""
    assert host.restore(crafted(GOOD, link(b"wp-content/passwd", b"/etc/passwd"))) is None
    assert os.readlink(host.site / "wp-content" / "passwd") == "/etc/passwd"
    host.assert_outside_unharmed()


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"7", b"S"])
@pytest.mark.parametrize("told", ["file", "device", "fifo"])
def test_a_device_is_never_made(host: Host, kind: bytes, told: str) -> None:
    line = line_of(Entry(b"wp-content/null"), b"", type=told)
    source = crafted((Entry(b"wp-content/null", kind=kind), b""), lines=[line, line_of(*TOP)])
    assert host.refuses(source).code == "bundle_damaged"


def test_a_path_is_refused_when_it_holds_nul(host: Host) -> None:
    lines = [line_of(*GOOD, path="wp-content/a\0b"), line_of(*TOP)]
    assert host.refuses(crafted(GOOD, lines=lines)).code == "bundle_damaged"


def test_a_newline_in_a_path_is_a_newline(host: Host) -> None:
    assert host.restore(crafted((Entry(b"wp-content/a\nb\n", size=1), b"x"))) is None
    assert os.listdir(host.site / "wp-content") == ["a\nb\n"]


SAME = b"wp-content/good.php"


@pytest.mark.parametrize("second", [
    (Entry(SAME, size=4), b"evil"),
    (Entry(SAME, kind=b"2", link=b"/etc/passwd"), b""),
    (Entry(SAME, kind=b"5"), b""),
    (Entry(SAME + b"/inner", size=4), b"evil"),
])  # fmt: skip
def test_two_members_of_one_path_are_refused(host: Host, second: Made) -> None:
    assert host.refuses(crafted(GOOD, second)).code in ("bundle_damaged", "unsafe_path")


@pytest.mark.parametrize("second", [
    (Entry(SAME, size=4), b"evil"),
    (Entry(SAME, kind=b"5"), b""),
    (Entry(SAME + b"/secret", size=4), b"evil"),
])  # fmt: skip
def test_nothing_is_done_through_a_link_of_the_same_path(host: Host, second: Made) -> None:
    for aim in (host.outside, host.outside / "secret"):
        error = host.refuses(crafted(link(SAME, aim), second))
        assert error.code in ("bundle_damaged", "unsafe_path")


@pytest.mark.parametrize(
    "lie",
    [
        {"sha256": "0" * 64},
        {"sha256": None},
        {"mode": "4755"},
        {"size": 4},
        {"size": 6},
        {"type": "folder", "size": 0},
        {"type": "symlink", "size": 0, "link": "/etc/passwd"},
        {"path": "wp-content/other.php"},
        {"uid": 0, "gid": 7},
        {"xattrs": {"security.capability": "AAAA"}},
        {"sparse": True, "stored_size": 5, "size": 2**40},
    ],
)
def test_a_manifest_is_refused_when_it_lies(host: Host, lie: dict[str, Any]) -> None:
    lines = [line_of(*GOOD, **lie), line_of(*TOP)]
    assert host.refuses(crafted(GOOD, lines=lines)).code == "bundle_damaged"


def test_the_room_is_asked_for_before_a_bomb_goes_off(host: Host) -> None:
    size = 1 << 55
    lines = [line_of(*GOOD, size=size), line_of(*TOP)]
    error = host.refuses(crafted((Entry(GOOD[0].path, size=5), b"hello"), lines=lines))
    assert error.code == "not_enough_space"


def test_a_file_is_refused_when_its_holes_are_larger_than_any_disk(host: Host) -> None:
    data = b"1\n0\n4\n".ljust(512, b"\0") + b"1234"
    holes: Made = (Entry(b"wp-content/h", size=len(data), sparse_size=2**62), data)
    assert host.refuses(crafted(holes)).code == "file_too_large"


def told_larger(size: int) -> Bytes:
    """Return a bundle with a frame that decodes to more than its own header and the index say."""
    real = bytearray(new_compressor().compress(bytes(3 << 20)))
    honest = frame(build_header(GOOD[0]), GOOD[1])
    real[5:9] = size.to_bytes(4, "little")
    source = crafted(GOOD)
    pieces = [Piece(bytes(real), size, honest.positions)]
    return Bytes(bytes(real) + pack(pieces) + source.data[-FOOTER_BYTES:])


@pytest.mark.parametrize("size", [1024, 4096, 1 << 22, (1 << 32) - 1])
def test_a_frame_is_refused_when_it_lies_about_its_size(host: Host, size: int) -> None:
    assert host.refuses(told_larger(size)).code == "bundle_damaged"


def test_a_flipped_bit_harms_nothing_wherever_it_is(host: Host) -> None:
    """Either it is named and the site is as before, or it is in what no file consists of."""
    tree = host.folder / "tree"
    generator = random.Random(5)
    write(tree / "text.php", b"some text " * 300)
    write(tree / "photo.jpg", generator.randbytes(66_000))
    (tree / "link").symlink_to("text.php")
    whole = build_bundle(host.folder / "bundle", tree, readers=1).file.read_bytes()
    wanted = describe(tree)
    host.before = host.now()
    # Headers and frames; then manifest, index and footer, which are the last bytes.
    places = [*range(0, 1500, 97), *range(0, len(whole) - 2600, 5003)]
    places += range(len(whole) - 2600, len(whole), 53)
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << generator.randrange(8)
        with pytest.raises(EngineError):
            verify(Bytes(bytes(data)), reporter=SilentReporter())
        if host.restore(Bytes(bytes(data))) is not None:
            host.assert_unharmed()
            continue
        assert describe(host.site / "wp-content") == wanted, f"byte {place}"
        host.before = host.now()


def test_bombs_are_refused_by_their_index(host: Host) -> None:
    bomb = new_compressor().compress(bytes(1 << 30))
    index = b"\x58\x2a\x4d\x18" + len(bomb).to_bytes(4, "little") + bomb
    assert host.refuses(crafted(GOOD, index=index)).code == "bundle_damaged"

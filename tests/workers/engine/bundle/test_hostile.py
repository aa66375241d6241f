"""Bundles from somebody who means harm, or from a broken program: clear errors, nothing outside."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.engine.bundle.conftest import build_bundle, write
from tests.workers.engine.bundle.crafting import Bytes, Crafted, Piece, frame, line_of, pack
from workers.engine.bundle import BundleDamaged, BundleReader, extract, verify
from workers.engine.bundle.container import new_compressor
from workers.engine.bundle.header_check import check_header
from workers.engine.bundle.manifest import parse_member
from workers.engine.bundle.tarheader import Entry, build_header
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter

FILE = (Entry(b"wp-content/a", size=5), b"hello")


@pytest.fixture(autouse=True)
def memory_limit() -> Iterator[None]:
    """Let nothing here take a gigabyte more than there is now."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def use(source: Bytes, target: Path) -> list[EngineError]:
    """Do all that can be done with a bundle; return the errors that came, verify's first."""
    errors = []

    def attempt(action: Any) -> None:
        try:
            action()
        except EngineError as error:
            errors.append(error)

    def read_all() -> None:
        bundle = BundleReader(source)
        for member in bundle.members():
            if member.kind == "file" and member.size < 1 << 30:
                for _ in bundle.read(member.path):
                    pass

    attempt(lambda: verify(source, reporter=SilentReporter()))
    attempt(read_all)
    attempt(lambda: list(BundleReader(source).left_out()))
    attempt(lambda: extract(BundleReader(source), [""], target, reporter=SilentReporter()))
    return errors


def refused(source: Bytes, target: Path) -> None:
    errors = use(source, target / "target")
    assert errors
    assert isinstance(errors[0], BundleDamaged)


def test_a_crafted_bundle_is_whole_when_nothing_in_it_lies(tmp_path: Path) -> None:
    assert use(Crafted([FILE]).build(), tmp_path / "target") == []
    assert (tmp_path / "target/wp-content/a").read_bytes() == b"hello"


LIES: dict[str, object] = {
    "size": 2**63,
    "mode": "0777777",
    "uid": -1,
    "gid": 2**32 - 1,
    "mtime": "99999999999999999999.000000000",
    "type": "device",
    "path": "",
    "sha256": 5,
    "user": None,
    "xattrs": {"user.\0": ""},
    "stored_size": 2**70,
}


@pytest.mark.parametrize("field", LIES)
def test_a_line_is_refused_when_a_fact_of_it_is_impossible(field: str, tmp_path: Path) -> None:
    changes = {field: LIES[field]} | ({"sparse": True} if field == "stored_size" else {})
    refused(Crafted([FILE], lines=[line_of(*FILE, **changes)]).build(), tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"path":' * 50_000,
        b"{}",
        b"7",
        b'"x"',
        b"",
        b"\xff",
        b"{",
        b'{"size":1e999}',
    ],
)
def test_a_line_is_refused_when_it_is_no_member(line: bytes, tmp_path: Path) -> None:
    refused(Crafted([FILE], lines=[line]).build(), tmp_path)


@pytest.mark.parametrize("fact", [b"[" * 100_000, b"", b"\xff", b"{", b"nothing"])
def test_a_fact_is_refused_when_it_is_no_json(fact: bytes, tmp_path: Path) -> None:
    head = b'{\n"a": ' + fact + b',\n"members": [\n'
    refused(Crafted([FILE], head=head).build(), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"x" * (40 << 20),
        b"{\n" * (8 << 20),
        b"",
        b'{\n"members": [\n',
        b'{\n"members": [\n]\n',
        b'{\n"members": [\n' + b"{}" * (30 << 20),
    ],
    ids=["one line", "many lines", "empty", "no end", "no list", "one long member"],
)
def test_a_manifest_is_refused_when_it_is_none(text: bytes, tmp_path: Path) -> None:
    refused(Crafted([FILE], manifest=text).build(), tmp_path)


@pytest.mark.parametrize(
    ("field", "lie"),
    [
        *(
            (name, number)
            for name in (
                "frames",
                "members",
                "content_size",
                "index_offset",
                "index_size",
                "manifest_size",
            )
            for number in (0, 1, 2**40, 2**64 - 1)
        ),
        ("manifest_sha256", bytes(32)),
        ("index_sha256", bytes(32)),
    ],
)
def test_a_footer_is_refused_when_it_lies(field: str, lie: Any, tmp_path: Path) -> None:
    refused(Crafted([FILE], footer={field: lie}).build(), tmp_path)


def bomb(size: int) -> bytes:
    """Return an index of which a part says that it holds `size` bytes."""
    packed = bytearray(new_compressor().compress(bytes(size)))
    return b"\x58\x2a\x4d\x18" + len(packed).to_bytes(4, "little") + packed


GOOD = frame(build_header(FILE[0]), FILE[1])


@pytest.mark.parametrize(
    "index",
    [
        b"\x58\x2a",
        b"\x58\x2a\x4d\x18\xff\xff\xff\xff",
        b"\x58\x2a\x4d\x18\0\0\0\0",
        bomb(1 << 30),
        bomb(1 << 20) * 200,
        bomb(17),
        # One frame that says it holds 2^60 bytes.
        b"\x58\x2a\x4d\x18\x11\0\0\0\x28\xb5\x2f\xfd\xe0"
        + (1 << 60).to_bytes(8, "little")
        + b"\1\0\0\0",
        pack([Piece(GOOD.stored, 2**32 - 1, [(0, 512)])]),
        pack([Piece(GOOD.stored, 0, [])]),
        pack([Piece(GOOD.stored, 1024, [(512, 1024)])]),
        pack([Piece(GOOD.stored, 1024, [(0, 512), (0, 512)])]),
        pack([Piece(GOOD.stored, 1024, [(0, 0)])]),
        pack([Piece(GOOD.stored, 1024, [(7, 512)])]),
        pack([GOOD, GOOD, GOOD]),
        pack([]),
    ],
)
def test_an_index_is_refused_when_it_lies(index: bytes, tmp_path: Path) -> None:
    refused(Crafted([FILE], index=index).build(), tmp_path)


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(2048), b"x" * 1024])
def test_a_bundle_is_not_whole_when_its_tar_does_not_end_well(end: bytes) -> None:
    with pytest.raises(BundleDamaged):
        verify(Crafted([FILE], end=end).build(), reporter=SilentReporter())


CHANGED: dict[str, object] = {
    "path": "wp-content/b",
    "mode": "4755",
    "uid": 7,
    "gid": 7,
    "mtime": "5.000000000",
    "size": 4,
    "type": "folder",
    "xattrs": {"user.a": "AAAA"},
}


@pytest.mark.parametrize("field", CHANGED)
def test_a_bundle_is_not_whole_when_header_and_manifest_differ(field: str) -> None:
    line = line_of(*FILE, **{field: CHANGED[field]} | ({"size": 0} if field == "type" else {}))
    with pytest.raises(BundleDamaged, match="do not agree"):
        verify(Crafted([FILE], lines=[line]).build(), reporter=SilentReporter())


def test_a_bundle_is_not_whole_when_a_link_leads_elsewhere_than_the_manifest_says() -> None:
    link = (Entry(b"wp-content/l", kind=b"2", link=b"/etc/passwd"), b"")
    source = Crafted([link], lines=[line_of(*link, link="harmless")]).build()
    with pytest.raises(BundleDamaged, match="do not agree"):
        verify(source, reporter=SilentReporter())


@pytest.mark.parametrize(
    "records",
    [b"0 path=a\n", b"-5 path=a\n", b"99 path=a\n", b"path", b"7 path=", b" =\n", b"x y=z\n"],
)
def test_a_header_is_refused_when_its_records_are_wrong(records: bytes) -> None:
    entry = Entry(b"a", mtime_ns=1)
    member = parse_member(line_of(entry, b""))
    header = build_header(entry)
    check_header(header, member)
    broken = header[:512] + records.ljust(512, b"\0") + header[1024:]
    with pytest.raises(BundleDamaged):
        check_header(broken, member)
    with pytest.raises(BundleDamaged):
        check_header(header[:700], member)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 600,
        b"-1\n".ljust(512, b"\0"),
        b"9" * 5000,
        b"99999999999999999999\n".ljust(512, b"\0"),
        b"1\n0\n9999999999\n".ljust(512, b"\0"),
        b"2\n4\n4\n0\n4\n".ljust(512, b"\0") + b"12345678",
        b"1\n-4\n4\n".ljust(512, b"\0") + b"1234",
        b"1\n0\n4\n".ljust(512, b"\0") + b"12345678",
        b"1\n0\n8\n".ljust(512, b"\0") + b"1234",
        b"1\n" + b"7" * (5 << 19),
    ],
)
def test_a_sparse_file_is_refused_when_its_map_is_wrong(data: bytes, tmp_path: Path) -> None:
    entry = Entry(b"wp-content/holes", size=len(data), sparse_size=1000)
    errors = use(Crafted([(entry, data)]).build(), tmp_path / "target")
    assert len(errors) == 2
    assert all(isinstance(error, BundleDamaged) for error in errors)


PATHS = [b"../out", b"/out", b"a/../../out", b"a/./b", b"..", b"a//b", b"link/out"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5"])
def test_nothing_is_written_outside_when_a_member_leads_there(
    path: bytes, kind: bytes, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = (Entry(b"link", kind=b"2", link=os.fsencode(outside)), b"")
    target = b"wp-content/a" if kind in b"12" else b""
    member = (Entry(path, kind=kind, link=target, size=0), b"")
    source = Crafted([FILE, link, member]).build()
    before = sorted(tmp_path.iterdir())
    errors = use(source, tmp_path / "target")
    assert "unsafe_path" in {error.code for error in errors}
    assert list(outside.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "target"])


@pytest.mark.parametrize("aim", [b"../secret", b"/etc/hostname", b"link/secret", b"wp-content"])
def test_no_hard_link_is_made_when_it_leads_outside(aim: bytes, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", b"secret")
    link = (Entry(b"link", kind=b"2", link=b".."), b"")
    hard = (Entry(b"stolen", kind=b"1", link=aim), b"")
    errors = use(Crafted([FILE, link, hard]).build(), tmp_path / "target")
    assert [error.code for error in errors] == ["unsafe_path"]
    assert secret.stat().st_nlink == 1
    assert not (tmp_path / "target/stolen").exists()


def test_a_file_is_refused_when_a_link_of_the_same_name_came_before(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", b"secret")
    link = (Entry(b"a", kind=b"2", link=b"../secret"), b"")
    source = Crafted([link, (Entry(b"a", size=4), b"evil")]).build()
    assert use(source, tmp_path / "target")[-1].code == "target_exists"
    extract(
        BundleReader(source), [""], tmp_path / "again", reporter=SilentReporter(), overwrite=True
    )
    assert secret.read_bytes() == b"secret"
    assert (tmp_path / "again/a").read_bytes() == b"evil"


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x"), lambda path: path.symlink_to("x")]
)
def test_a_clear_error_comes_when_the_target_is_no_folder(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "target")
    with pytest.raises(EngineError) as caught:
        bundle = BundleReader(Crafted([FILE]).build())
        extract(bundle, [""], tmp_path / "target", reporter=SilentReporter())
    assert caught.value.code == "target_unwritable"


@pytest.mark.slow
def test_every_change_is_noticed_and_said_clearly_when_bundles_are_fuzzed(tmp_path: Path) -> None:
    generator = random.Random(11)
    tree = tmp_path / "tree"
    write(tree / "a.txt", b"some text " * 300)
    write(tree / "b.jpg", generator.randbytes(66_000))
    os.link(tree / "a.txt", tree / "c.txt")
    (tree / "l").symlink_to("a.txt")
    with (tree / "holes").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    whole = build_bundle(tmp_path / "bundle", tree).file.read_bytes()
    assert use(Bytes(whole), tmp_path / "whole") == []
    for number in range(1500):
        data = bytearray(whole)
        # Half of the changes hit the structures behind the media.
        start = generator.choice((0, len(data) - 1500))
        for _ in range(generator.choice((1, 1, 2, 5))):
            position = generator.randrange(start, len(data))
            change = generator.randrange(4)
            if change == 0:
                data[position] ^= 1 << generator.randrange(8)
            elif change == 1:
                del data[position : position + generator.choice((1, 2, 8, 500))]
            elif change == 2:
                data[position:position] = generator.randbytes(generator.choice((1, 4, 200)))
            else:
                data[position : position + 4] = generator.choice((bytes(4), b"\xff" * 4))
            if len(data) <= start + 1:
                break
        if data == whole:
            continue
        with pytest.raises(EngineError):
            verify(Bytes(bytes(data)), reporter=SilentReporter())
            pytest.fail(f"change {number} went unnoticed")
        use(Bytes(bytes(data)), tmp_path / f"target-{number}")


@pytest.mark.slow
def test_errors_are_clear_when_lines_and_frames_are_fuzzed_below_right_checksums(
    tmp_path: Path,
) -> None:
    generator = random.Random(12)
    holes = b"1\n0\n4\n".ljust(512, b"\0") + b"1234"
    members = [
        FILE,
        (Entry(b"wp-content/s", size=len(holes), sparse_size=9000), holes),
        (Entry(b"wp-content/h", kind=b"1", link=b"wp-content/a"), b""),
        (Entry(b"wp-content/x", mtime_ns=5, xattrs=((b"user.a", b"1"),)), b""),
        (Entry(b"wp-content", kind=b"5"), b""),
    ]
    odd: list[object] = [None, -1, 2**64, 1.5, "", "\ud800", [], {}, True, "1e9", "..", {"a": 1}]
    for number in range(1500):
        lines = [line_of(*member) for member in members]
        chosen = generator.randrange(len(lines))
        if generator.random() < 0.5:
            facts = json.loads(lines[chosen])
            facts[generator.choice([*facts, "link", "sparse", "stored_size"])] = generator.choice(
                odd
            )
            lines[chosen] = json.dumps(facts).encode()
        else:
            line = bytearray(lines[chosen])
            line[generator.randrange(len(line))] = generator.randrange(256)
            lines[chosen] = bytes(line)
        with contextlib.suppress(EngineError):
            source = Crafted(members, lines=lines).build()
            use(source, tmp_path / f"target-{number}")
    assert sorted(path.name for path in tmp_path.iterdir() if "target-" not in path.name) == []

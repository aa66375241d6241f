from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.engine.bundle.conftest import Built, build_bundle, write
from workers.engine.bundle import (
    BundleReader,
    MemberMissing,
    TargetExists,
    UnsafePath,
    extract,
)
from workers.engine.bundle.extract import safe_parts
from workers.engine.bundle.index import TAIL_BYTES, BundleIndex
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("reader") / "tree"
    generator = random.Random(5)
    for number in range(30):
        write(tree / f"uploads/photo-{number:02}.jpg", generator.randbytes(900_000))
    write(tree / "plugins/a/main.php", b"<?php\n" * 50)
    write(tree / "plugins/a.txt", b"beside the folder")
    os.link(tree / "plugins/a.txt", tree / "plugins/z.txt")
    (tree / "link").symlink_to("plugins")
    with (tree / "holes").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    return tree


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    facts = {"site": {"name": "Grüße"}, "warnings": ["one\ntwo"], "count": 3}
    return build_bundle(tmp_path_factory.mktemp("bundle"), tree, facts=facts)


def test_little_is_fetched_when_one_file_is_read(built: Built, tree: Path) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        content = b"".join(bundle.read("wp-content/uploads/photo-07.jpg"))
        assert content == (tree / "uploads/photo-07.jpg").read_bytes()
        assert bundle.bytes_fetched < 5 << 20
        assert source.size > 25 << 20


def test_only_what_is_below_is_listed_when_a_prefix_is_given(built: Built) -> None:
    with built.source() as source:
        names = [member.name for member in BundleReader(source).members("wp-content/plugins/a/")]
    assert sorted(names) == ["wp-content/plugins/a", "wp-content/plugins/a/main.php"]


def test_holes_are_zeros_and_links_are_followed_when_read(built: Built) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        assert b"".join(bundle.read("wp-content/holes")) == bytes(1 << 20) + b"end"
        assert b"".join(bundle.read("wp-content/plugins/z.txt")) == b"beside the folder"
        assert b"".join(bundle.read("wp-content/plugins/a.txt")) == b"beside the folder"


def test_a_clear_error_comes_when_a_member_is_missing_or_no_file(built: Built) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        with pytest.raises(MemberMissing):
            list(bundle.read("wp-content/nothing"))
        with pytest.raises(EngineError, match="is a folder"):
            list(bundle.read("wp-content/plugins"))


def test_the_manifest_is_json_with_every_member_when_read_whole(built: Built) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        manifest = json.loads(b"".join(bundle.manifest()))
        assert bundle.facts()["site"] == {"name": "Grüße"}
        assert bundle.facts()["warnings"] == ["one\ntwo"]
    assert manifest["format"] == "holdfast-bundle"
    assert manifest["format_version"] == 1
    assert len(manifest["members"]) == built.sealed.members - 1
    kinds = {member["type"] for member in manifest["members"]}
    assert kinds == {"file", "folder", "symlink", "hardlink"}
    assert manifest["left_out"] == []


def test_exact_bytes_are_given_when_a_path_is_not_utf8(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    with open(os.fsencode(tmp_path / "tree") + b"/caf\xe9", "wb") as file:
        file.write(b"latin")
    with build(tmp_path / "tree").source() as source:
        bundle = BundleReader(source)
        listed = json.loads(b"".join(bundle.manifest()))["members"]
        assert b"".join(bundle.read(b"wp-content/caf\xe9")) == b"latin"
    entry = next(member for member in listed if "path_base64" in member)
    assert entry["path"] == "wp-content/caf\ufffd"
    assert entry["path_base64"] == "d3AtY29udGVudC9jYWbp"


def test_facts_are_refused_when_they_use_the_manifests_own_names(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    write(tmp_path / "tree/a")
    with pytest.raises(EngineError, match="reserved"):
        build(tmp_path / "tree", facts={"members": []})


def test_one_folder_is_extracted_when_asked_for(built: Built, tree: Path, tmp_path: Path) -> None:
    with built.source() as source:
        report = extract(
            BundleReader(source), ["wp-content/plugins/a"], tmp_path, reporter=SilentReporter()
        )
    assert (report.files, report.folders) == (1, 1)
    assert [path.name for path in (tmp_path / "wp-content").rglob("*") if path.is_file()] == [
        "main.php"
    ]


def test_content_is_written_when_only_the_second_name_is_extracted(
    built: Built, tmp_path: Path
) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        second = next(m for m in bundle.members() if m.kind == "hardlink")
        extract(bundle, [second.path], tmp_path, reporter=SilentReporter())
    assert (tmp_path / second.name).read_bytes() == b"beside the folder"


def test_the_bundles_content_is_written_when_the_target_has_another_file_to_link_to(
    built: Built, tmp_path: Path
) -> None:
    with built.source() as source:
        bundle = BundleReader(source)
        second = next(member for member in bundle.members() if member.kind == "hardlink")
        assert second.link is not None
        other = write(tmp_path / os.fsdecode(second.link), b"changed since")
        extract(bundle, [second.path], tmp_path, reporter=SilentReporter())
    assert (tmp_path / second.name).read_bytes() == b"beside the folder"
    assert other.read_bytes() == b"changed since"


def test_all_names_are_one_file_when_only_later_names_are_extracted(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    write(tmp_path / "tree/a/first", b"content")
    for number in range(5):
        write(tmp_path / "tree/b/x")
        os.link(tmp_path / "tree/a/first", tmp_path / f"tree/b/name-{number}")
    with build(tmp_path / "tree").source() as source:
        report = extract(
            BundleReader(source), ["wp-content/b"], tmp_path / "out", reporter=SilentReporter()
        )
    assert (report.files, report.links) == (2, 4)
    found = (tmp_path / "out/wp-content/b/name-3").stat()
    assert (found.st_nlink, found.st_size) == (5, 7)
    assert not (tmp_path / "out/wp-content/a").exists()


def test_every_frame_is_fetched_once_when_all_is_extracted(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    for number in range(300):
        write(tmp_path / f"tree/{number}.bin", random.Random(number).randbytes(5000))
    with build(tmp_path / "tree").source() as source:
        bundle = BundleReader(source)
        extract(bundle, [""], tmp_path / "out", reporter=SilentReporter())
        assert bundle.bytes_fetched < 2 * source.size


def test_manifest_is_fetched_once_when_it_is_long_and_read_again(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    chance = random.Random(1)
    for number in range(4000):
        (tmp_path / f"tree/{number:04}").parent.mkdir(exist_ok=True)
        (tmp_path / f"tree/{number:04}").symlink_to(chance.randbytes(120).hex())
    with build(tmp_path / "tree").source() as source:
        bundle = BundleReader(source)
        manifest = source.size - BundleIndex(source).manifest_offset
        assert manifest > TAIL_BYTES
        first = list(bundle.members())
        assert list(bundle.members()) == first
        assert bundle.bytes_fetched == manifest
        again = BundleReader(source, end=bundle.end())
        assert list(again.members()) == first
        assert again.bytes_fetched == 0
        short = BundleReader(source, keeps_manifest=False)
        short.facts()
        assert short.bytes_fetched < manifest + TAIL_BYTES


def test_both_are_extracted_when_one_path_lies_below_another(built: Built, tmp_path: Path) -> None:
    paths = ["wp-content/plugins", "wp-content/plugins/a/main.php", "wp-content/plugins/"]
    with built.source() as source:
        report = extract(BundleReader(source), paths, tmp_path, reporter=SilentReporter())
    assert (report.files, report.folders, report.links) == (2, 2, 1)


def test_nothing_is_overwritten_when_a_file_exists(built: Built, tmp_path: Path) -> None:
    target = write(tmp_path / "wp-content/plugins/a/main.php", b"mine")
    with built.source() as source:
        bundle = BundleReader(source)
        with pytest.raises(TargetExists):
            extract(bundle, ["wp-content/plugins/a"], tmp_path, reporter=SilentReporter())
        assert target.read_bytes() == b"mine"
        extract(
            bundle, ["wp-content/plugins/a"], tmp_path, reporter=SilentReporter(), overwrite=True
        )
    assert target.read_bytes() == b"<?php\n" * 50


def test_nothing_is_written_outside_when_a_link_stands_in_the_way(
    built: Built, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    (target / "wp-content").mkdir(parents=True)
    (target / "wp-content/plugins").symlink_to(outside)
    with built.source() as source, pytest.raises(UnsafePath):
        extract(BundleReader(source), ["wp-content/plugins/a"], target, reporter=SilentReporter())
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", [b"/etc/passwd", b"a/../../b", b"..", b"a//b", b"./a", b"a\0b"])
def test_a_path_is_refused_when_it_could_lead_outside(path: bytes) -> None:
    with pytest.raises(UnsafePath):
        safe_parts(path)

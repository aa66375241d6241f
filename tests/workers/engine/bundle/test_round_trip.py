from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.engine.bundle.conftest import Built, build_bundle, write
from tests.workers.engine.bundle.trees import add_special_files, describe, make_hard_tree
from workers.engine.bundle import BundleReader, extract
from workers.engine.progress import SilentReporter


@pytest.fixture(scope="module")
def hard_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("hard") / "tree"
    make_hard_tree(tree)
    return tree


@pytest.fixture(scope="module")
def hard_bundle(hard_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_bundle(tmp_path_factory.mktemp("bundle"), hard_tree)


def plain_tar(bundle: Path, folder: Path) -> Path:
    tar = folder / "bundle.tar"
    subprocess.run(["zstd", "-q", "-d", str(bundle), "-o", str(tar)], check=True)
    return tar


def test_everything_is_restored_when_gnu_tar_extracts(
    hard_tree: Path, hard_bundle: Built, tmp_path: Path
) -> None:
    subprocess.run(
        # Without -P, GNU tar makes links that point upwards last, and so touches their folder.
        ["tar", "--zstd", "--xattrs", "-xpPf", str(hard_bundle.file), "-C", str(tmp_path)],
        check=True,
    )
    assert describe(tmp_path / "wp-content") == describe(hard_tree)
    assert (tmp_path / "wp-content/sparse").stat().st_blocks < 1000
    assert (tmp_path / "database.sql").read_bytes() == b"SELECT 1;\n"
    assert (tmp_path / "database.sql").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_everything_is_restored_when_bsdtar_extracts(
    hard_tree: Path, hard_bundle: Built, tmp_path: Path
) -> None:
    subprocess.run(["bsdtar", "-xpf", str(hard_bundle.file), "-C", str(tmp_path)], check=True)
    restored = describe(tmp_path / "wp-content")
    assert restored == describe(hard_tree)


def test_content_is_restored_when_python_tarfile_extracts(
    hard_tree: Path, hard_bundle: Built, tmp_path: Path
) -> None:
    with tarfile.open(plain_tar(hard_bundle.file, tmp_path)) as archive:
        # Filters came with Python 3.11.4; before, everything was trusted.
        if hasattr(tarfile, "fully_trusted_filter"):
            archive.extraction_filter = tarfile.fully_trusted_filter
        archive.extractall(tmp_path)
        assert len(archive.getmembers()) == hard_bundle.sealed.members
    restored = describe(tmp_path / "wp-content", times="none")
    # tarfile knows no extended attributes.
    expected = describe(hard_tree, times="none")
    assert {key: value[:-1] for key, value in restored.items()} == {
        key: value[:-1] for key, value in expected.items()
    }


def test_everything_is_restored_when_holdfast_extracts(
    hard_tree: Path, hard_bundle: Built, tmp_path: Path
) -> None:
    with hard_bundle.source() as source:
        report = extract(BundleReader(source), [""], tmp_path, reporter=SilentReporter())
    assert describe(tmp_path / "wp-content") == describe(hard_tree)
    assert report.warnings == []
    assert report.files == hard_bundle.tree.files + 2


@pytest.mark.parametrize("readers", [1, 3])
def test_the_same_members_are_written_when_readers_differ(
    hard_tree: Path, hard_bundle: Built, build: Callable[..., Built], readers: int
) -> None:
    other = build(hard_tree, readers=readers)
    with hard_bundle.source() as one, other.source() as two:
        members = [
            {
                (member.path, member.size, member.mtime_ns)
                for member in BundleReader(each).members("wp-content")
                if member.kind in ("file", "hardlink")
            }
            for each in (one, two)
        ]
    assert {item[0] for item in members[0]} == {item[0] for item in members[1]}
    assert len(members[0]) == hard_bundle.tree.files + hard_bundle.tree.hard_links


def test_special_files_are_listed_as_skipped_when_a_tree_has_them(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    add_special_files(tree)
    built = build(tree)
    assert built.tree.skipped.count == 2
    assert sorted(built.tree.skipped.examples) == [
        "wp-content/fifo: a FIFO",
        "wp-content/socket: a socket",
    ]
    assert any("were skipped" in warning for warning in built.reporter.warnings)
    with built.source() as source:
        listed = b"\n".join(BundleReader(source).left_out())
    assert b'"path":"wp-content/fifo","reason":"skipped","detail":"a FIFO"' in listed


@pytest.fixture
def deep_path(tmp_path: Path) -> Iterator[Path]:
    """A temporary folder in which folders may nest deeper than Python can remove them."""
    yield tmp_path
    subprocess.run(["rm", "-rf", "--", tmp_path], check=True)


def test_a_tree_is_kept_when_folders_nest_2000_deep_and_paths_pass_4096_bytes(
    build: Callable[..., Built], deep_path: Path
) -> None:
    tree = deep_path / "tree"
    tree.mkdir()
    folder = os.open(tree, os.O_RDONLY)
    for depth in range(2000):
        os.mkdir("deep", dir_fd=folder)
        below = os.open("deep", os.O_RDONLY, dir_fd=folder)
        if depth % 500 == 499:
            os.close(os.open("leaf.txt", os.O_WRONLY | os.O_CREAT, dir_fd=below))
        os.close(folder)
        folder = below
    descriptor = os.open("bottom.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
    os.write(descriptor, b"at the bottom")
    os.close(descriptor)
    os.link("bottom.txt", "second-name.txt", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    built = build(tree)
    assert (built.tree.folders, built.tree.files, built.tree.hard_links) == (2001, 5, 1)
    path = "wp-content/" + "deep/" * 2000 + "bottom.txt"
    target = deep_path / "target"
    with built.source() as source:
        bundle = BundleReader(source)
        assert b"".join(bundle.read(path)) == b"at the bottom"
        extract(bundle, [""], target, reporter=SilentReporter())
    again = build(target / "wp-content")
    assert again.tree.content_size == built.tree.content_size
    listed = subprocess.run(
        ["tar", "--zstd", "-tf", str(built.file)], check=True, capture_output=True
    ).stdout
    assert path.encode() in listed


SECONDS = (-(2**31), -2, -1, 0, 10**9 - 1, 10**9, 2**33 - 1, 2**33, 10**10 - 1, 10**10, 2**33 + 7)


def test_times_are_kept_when_they_lie_at_the_edges_of_a_headers_fields(
    build: Callable[..., Built], tmp_path: Path
) -> None:
    times = [second * 10**9 + fraction for second in SECONDS for fraction in (0, 1, 999_999_999)]
    tree = tmp_path / "tree"
    for time_ns in times:
        for path in (tree / f"file{time_ns}", tree / f"folder{time_ns}"):
            write(path) if "file" in path.name else path.mkdir(parents=True)
            os.utime(path, ns=(time_ns, time_ns))
    expected = describe(tree)
    built = build(tree)
    target = tmp_path / "gnu"
    target.mkdir()
    subprocess.run(
        ["tar", "--zstd", "--warning=none", "-xpf", str(built.file), "-C", str(target)], check=True
    )
    with built.source() as source:
        extract(BundleReader(source), [""], tmp_path / "ours", reporter=SilentReporter())
    assert describe(target / "wp-content") == expected
    assert describe(tmp_path / "ours/wp-content") == expected


NAMES = (
    st.binary(min_size=1, max_size=120)
    .map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"1"))
    .filter(lambda name: name not in (b".", b".."))
    .map(lambda name: name[:255])
)
FILES = st.tuples(
    st.lists(NAMES, min_size=1, max_size=4),
    st.one_of(st.binary(max_size=2000), st.integers(1, 5 << 20).map(lambda size: b"\0" * size)),
    st.integers(0o600, 0o777),
    st.integers(-(10**18), 4 * 10**18),
)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=st.lists(FILES, max_size=8))
def test_gnu_tar_restores_what_was_there_when_the_tree_is_arbitrary(
    files: list[tuple[list[bytes], bytes, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("arbitrary")
    tree = folder / "tree"
    tree.mkdir()
    for parts, content, mode, mtime_ns in files:
        path = os.path.join(os.fsencode(tree), *parts)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        os.chmod(path, mode)
        os.utime(path, ns=(mtime_ns, mtime_ns))
    built = build_bundle(folder / "bundle", tree)
    target = folder / "target"
    target.mkdir()
    subprocess.run(
        ["tar", "--zstd", "--warning=none", "-xpf", str(built.file), "-C", str(target)], check=True
    )
    assert describe(target / "wp-content") == describe(tree)

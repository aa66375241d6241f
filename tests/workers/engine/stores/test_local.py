"""The local store on a real file system: its links, its limits, its locks and its leavings."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.contracts.store_sources import (
    ROOT,
    BytesSource,
    InterruptingReporter,
    PutCall,
    digest_of,
    pattern,
    start_put,
)
from tests.servers import wait_until
from workers.engine.errors import EngineError, Fenced
from workers.engine.stores import local, open_store
from workers.engine.stores.base import Store
from workers.engine.stores.local_files import translated, write_whole

KEY = "node/site/site.tar.zst"
SIZE = 3_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "storage"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path) -> Store:
    return open_store("local", {"path": str(root)})


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_folder_is_not_created_when_it_is_missing(tmp_path: Path) -> None:
    store = open_store("local", {"path": str(tmp_path / "not-mounted")})
    for attempt in (
        lambda: PutCall(store, KEY)(BytesSource(b"x")),
        lambda: store.stat(KEY),
        lambda: store.open(KEY),
        lambda: store.delete(KEY),
        lambda: list(store.list()),
        store.probe,
    ):
        with pytest.raises(EngineError) as caught:
            attempt()
        assert (caught.value.code, caught.value.permanent) == ("storage_folder_missing", True)
    assert not (tmp_path / "not-mounted").exists()


@pytest.mark.parametrize("place", ["node", "node/site", KEY])
def test_nothing_outside_is_touched_when_a_link_leads_there(
    root: Path, store: Store, tmp_path: Path, place: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).symlink_to(outside / "precious" if place == KEY else outside)

    if place == KEY:
        assert store.stat(KEY) is None
        assert list(store.list()) == []
        with pytest.raises(EngineError):
            store.open(KEY)
        PutCall(store, KEY)(BytesSource(b"ours"))
        assert not (root / KEY).is_symlink()
    else:
        with pytest.raises(EngineError) as caught:
            PutCall(store, KEY)(BytesSource(b"x"))
        assert (caught.value.code, caught.value.permanent) == ("invalid_key", True)
        assert list(store.list()) == []
    assert sorted(path.name for path in outside.iterdir()) == ["precious"]
    assert (outside / "precious").read_bytes() == b"precious"


def test_special_files_are_no_objects_when_somebody_made_them(root: Path, store: Store) -> None:
    os.mkfifo(root / "fifo")
    (root / "folder").mkdir()
    assert store.stat("fifo") is None
    assert store.stat("folder") is None
    assert list(store.list()) == []
    for key in ("fifo", "folder"):
        with pytest.raises(EngineError):
            store.open(key)
    with pytest.raises(EngineError) as caught:
        PutCall(store, "folder")(BytesSource(b"x"))
    assert caught.value.permanent
    assert files_below(root) == []


def test_foreign_file_is_an_object_without_metadata_when_found(root: Path, store: Store) -> None:
    (root / "found.tar.zst").write_bytes(b"12345")
    seen = store.stat("found.tar.zst")
    assert seen is not None
    assert (seen.size, seen.checksum, seen.metadata) == (5, "", None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sidecar: sidecar.write_text("no json"),
        lambda sidecar: sidecar.write_text("[]"),
        lambda sidecar: sidecar.write_text(json.dumps({"size": 1, "metadata": {"sha256": "x"}})),
        lambda sidecar: sidecar.unlink(),
        lambda sidecar: (sidecar.unlink(), sidecar.mkdir()),
    ],
)
def test_metadata_is_unknown_and_restored_by_a_put_when_the_sidecar_is_spoilt(
    root: Path, store: Store, spoil: object
) -> None:
    source = BytesSource(pattern(1000))
    PutCall(store, KEY)(source)
    sidecar = root / "node/site/.holdfast-site.tar.zst.json"
    assert sidecar.exists()
    spoil(sidecar)  # type: ignore[operator]
    seen = store.stat(KEY)
    assert seen is not None
    assert (seen.metadata, seen.checksum) == (None, "")
    if sidecar.is_dir():
        sidecar.rmdir()
    PutCall(store, KEY)(source)
    seen = store.stat(KEY)
    assert seen is not None
    assert (seen.metadata or {})["sha256"] == source.sha256


def test_files_are_for_their_owner_only_when_stored(root: Path, store: Store) -> None:
    PutCall(store, KEY)(BytesSource(b"x"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert set(modes.values()) == {0o600, 0o700}


def test_put_fails_with_numbers_when_there_is_too_little_room(root: Path, store: Store) -> None:
    class Huge(BytesSource):
        def __init__(self) -> None:
            super().__init__(b"x")
            self.size = 1 << 60

    with pytest.raises(EngineError) as caught:
        PutCall(store, KEY)(Huge())
    error = caught.value
    assert (error.code, error.permanent) == ("no_room", True)
    assert f"{1 << 60:,}" in error.message
    assert files_below(root) == []


def test_full_disk_is_named_when_writing_fails() -> None:
    """/dev/full answers every write with the kernel's own ENOSPC."""
    descriptor = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(EngineError) as caught, translated("store it"):
        write_whole(descriptor, b"x", 0)
    os.close(descriptor)
    assert (caught.value.code, caught.value.permanent) == ("no_room", True)


LIMITED = """
import resource, sys
from tests.contracts.store_sources import BytesSource, PutCall, pattern
from workers.engine.errors import EngineError
from workers.engine.stores import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    PutCall(open_store("local", {"path": sys.argv[1]}), "a/b")(BytesSource(pattern(3_000_000)))
except EngineError as error:
    print(error.code, error.permanent)
"""


def test_what_was_written_is_freed_when_the_file_may_not_grow(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(root)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["file_too_large", "True"], done.stderr
    assert files_below(root) == []


def test_written_part_is_kept_when_its_tail_is_damaged(root: Path) -> None:
    store = open_store("local", {"path": str(root)})
    source = BytesSource(pattern(SIZE))
    call = PutCall(store, KEY, reporter=InterruptingReporter(Fenced, after=SIZE - 1_000_000))
    with pytest.raises(Fenced):
        call(source)
    partial = root / "node/site" / str(call.checkpoints[-1]["temporary"])
    inode = partial.stat().st_ino
    # What a crash of the host may leave: a tail that never reached the disk.
    with partial.open("r+b") as file:
        file.seek(-500_000, os.SEEK_END)
        file.write(bytes(500_000))
    PutCall(store, KEY, resume=call.checkpoints[-1])(source)
    assert (root / KEY).stat().st_ino == inode
    assert digest_of(store, KEY) == source.sha256


def test_another_copy_is_begun_when_the_first_is_still_being_written(
    root: Path, store: Store
) -> None:
    source = BytesSource(pattern(SIZE))
    call = PutCall(store, KEY, reporter=InterruptingReporter(Fenced, after=1))
    with pytest.raises(Fenced):
        call(source)
    partial = root / "node/site" / str(call.checkpoints[-1]["temporary"])
    before = partial.read_bytes()
    with partial.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        again = PutCall(store, KEY, resume=call.checkpoints[-1])
        again(source)
    assert partial.read_bytes() == before
    assert again.checkpoints[-1] != call.checkpoints[-1]
    assert digest_of(store, KEY) == source.sha256


def test_put_goes_on_when_its_process_was_killed(root: Path, store: Store, tmp_path: Path) -> None:
    source = BytesSource(pattern(SIZE))
    path, checkpoint = tmp_path / "source", tmp_path / "checkpoint"
    path.write_bytes(source.data)
    process = start_put(
        {
            "kind": "local",
            "config": {"path": str(root)},
            "key": KEY,
            "path": str(path),
            "checkpoint": str(checkpoint),
            "pause_after": 1 << 20,
        }
    )
    wait_until(lambda: any(part.stat().st_size for part in root.rglob("*.part")))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert store.stat(KEY) is None
    again = PutCall(store, KEY, resume=json.loads(checkpoint.read_text()))
    again(source)
    assert again.checkpoints[-1] == again.resume
    assert digest_of(store, KEY) == source.sha256


def test_reading_fails_when_the_file_became_shorter(root: Path, store: Store) -> None:
    PutCall(store, KEY)(BytesSource(pattern(1000)))
    opened = store.open(KEY)
    os.truncate(root / KEY, 10)
    with pytest.raises(EngineError) as caught:
        opened.read_at(0, 1000)
    assert caught.value.code == "object_changed"


def test_damage_is_found_when_the_disk_gives_back_other_bytes(root: Path, store: Store) -> None:
    """Another writer flips a byte between the writing and the reading back."""
    source = BytesSource(pattern(SIZE))

    class Flipping(InterruptingReporter):
        def detail(self, text: str) -> None:
            [partial] = root.rglob("*.part")
            with partial.open("r+b") as file:
                file.write(b"\xff" if source.data[:1] != b"\xff" else b"\x00")

    with pytest.raises(EngineError) as caught:
        PutCall(store, KEY, reporter=Flipping(Fenced, 1 << 60))(source)
    assert (caught.value.code, caught.value.permanent) == ("verification_failed", False)
    assert files_below(root) == []


def test_object_in_its_place_stays_whole_when_the_disk_is_full_for_the_rest(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt's object may have been there, and count already."""
    source = BytesSource(pattern(1000))
    PutCall(store, KEY)(source)

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local, "replace_small_file", refuse)
    with pytest.raises(EngineError) as caught:
        PutCall(store, KEY)(source)
    assert caught.value.code == "no_room"
    assert (root / KEY).read_bytes() == source.data


DENIED = """
import os, sys
from tests.contracts.store_sources import BytesSource, PutCall
from workers.engine.errors import EngineError
from workers.engine.stores import open_store
store = open_store("local", {"path": sys.argv[1]})
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    PutCall(store, "a/b")(BytesSource(b"x"))
except EngineError as error:
    print(error.code, error.permanent)
seen = store.probe()
print(seen.write, seen.notes[0])
"""


def test_denied_folder_is_named_when_nobody_may_write(tmp_path: Path) -> None:
    """In a process without root's rights, which would pass over the folder's mode."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o555)
        done = subprocess.run(
            [sys.executable, "-c", DENIED, root], cwd=ROOT, capture_output=True, text=True
        )
    put, probe = done.stdout.splitlines() or [done.stderr, ""]
    assert put == "access_denied True"
    assert probe == f"False Trying write in {root} failed: Permission denied."


def test_empty_folders_go_with_the_last_object_when_deleted(root: Path, store: Store) -> None:
    PutCall(store, KEY)(BytesSource(b"x"))
    PutCall(store, "node/other")(BytesSource(b"x"))
    assert store.delete(KEY)
    assert sorted(path.name for path in root.iterdir()) == ["node"]
    assert files_below(root) == ["node/.holdfast-other.json", "node/other"]
    assert store.delete("node/other")
    assert list(root.iterdir()) == []

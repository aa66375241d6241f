"""Encrypting into one file: what age decrypts, in constant memory, ended where it must end."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.age import KeyPair, decrypt
from tests.servers.small_disk import MEBIBYTE, SmallDisk
from workers.engine.age import AgeSource, encrypt, encrypted_size, identity_of
from workers.engine.errors import EngineError, Fenced, InterruptedWork, StopRequested
from workers.engine.progress import SilentReporter
from workers.engine.sources import FilesSource


class EndingReporter(SilentReporter):
    """Tells the work to end once so many bytes are done."""

    def __init__(self, ending: type[InterruptedWork], after: int) -> None:
        super().__init__()
        self.ending, self.after = ending, after

    def check(self) -> None:
        if self.bytes_done >= self.after:
            raise self.ending


def make_parts(folder: Path, *sizes: int) -> list[Path]:
    paths = [folder / f"part-{number}" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(size))
    return paths


@pytest.mark.parametrize("sizes", [(0,), (1,), (65536,), (100, 0, 300_000), (3 << 20, 17)])
def test_age_decrypts_the_parts_end_to_end(
    sizes: tuple[int, ...], tmp_path: Path, new_key: Callable[[], KeyPair], age_program: str
) -> None:
    keys, paths = [new_key(), new_key()], make_parts(tmp_path, *sizes)
    plain = b"".join(path.read_bytes() for path in paths)
    reporter = SilentReporter()
    made = encrypt(paths, tmp_path / "out", [key.recipient for key in keys], reporter)
    for number, key in enumerate(keys):
        opened = decrypt(age_program, key, tmp_path / "out", tmp_path / f"plain-{number}")
        assert opened.read_bytes() == plain
    stored = (tmp_path / "out").read_bytes()
    assert (made.size, made.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert (made.plain_size, made.plain_sha256) == (len(plain), hashlib.sha256(plain).hexdigest())
    assert made.size <= encrypted_size(len(plain))
    assert reporter.bytes_done == 2 * len(plain)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_nothing_of_the_content_is_in_the_file(
    tmp_path: Path, new_key: Callable[[], KeyPair]
) -> None:
    (tmp_path / "plain").write_bytes(b"a secret of somebody " * 10_000)
    encrypt([tmp_path / "plain"], tmp_path / "out", [new_key().recipient], SilentReporter())
    assert b"secret" not in (tmp_path / "out").read_bytes()


def test_what_is_encrypted_is_read_at_any_offset(
    tmp_path: Path, new_key: Callable[[], KeyPair]
) -> None:
    key, (path,) = new_key(), make_parts(tmp_path, 2 << 20)
    encrypt([path], tmp_path / "out", [key.recipient], SilentReporter())
    with FilesSource([tmp_path / "out"]) as stored:
        source = AgeSource(stored, [identity_of(key.secret)])
        assert source.read_at(700_000, 90_000) == path.read_bytes()[700_000:790_000]


@pytest.mark.parametrize("ending", [StopRequested, Fenced])
@pytest.mark.parametrize("share", [0, 0.5, 1.5])
def test_it_ends_where_it_is_told_to(
    ending: type[InterruptedWork], share: float, tmp_path: Path, new_key: Callable[[], KeyPair]
) -> None:
    """In the middle of encrypting, and in the middle of the read-back."""
    size = 8 << 20
    paths, reporter = make_parts(tmp_path, size), EndingReporter(ending, int(size * share))
    with pytest.raises(ending):
        encrypt(paths, tmp_path / "out", [new_key().recipient], reporter)
    assert reporter.bytes_done <= size * share + (1 << 20)


def test_a_target_that_is_there_is_not_touched(
    tmp_path: Path, new_key: Callable[[], KeyPair]
) -> None:
    (tmp_path / "out").write_text("of another attempt")
    with pytest.raises(FileExistsError):
        encrypt(make_parts(tmp_path, 10), tmp_path / "out", [new_key().recipient], SilentReporter())
    assert (tmp_path / "out").read_text() == "of another attempt"


@pytest.mark.parametrize("recipients", [[], ["age1nonsense"]])
def test_nothing_is_written_without_somebody_to_encrypt_to(
    recipients: list[str], tmp_path: Path
) -> None:
    with pytest.raises(EngineError) as refused:
        encrypt(make_parts(tmp_path, 10), tmp_path / "out", recipients, SilentReporter())
    assert refused.value.code == "age_recipient_invalid"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_with_its_size(
    tmp_path: Path, new_key: Callable[[], KeyPair], small_disk: Callable[..., SmallDisk]
) -> None:
    disk, paths = small_disk(4 * MEBIBYTE), make_parts(tmp_path, 6 * MEBIBYTE)
    with pytest.raises(EngineError, match="is full") as refused:
        encrypt(paths, disk.path / "out", [new_key().recipient], SilentReporter())
    assert refused.value.code == "disk_full"
    assert refused.value.permanent


MEMORY = """
import resource, sys
from pathlib import Path
from workers.engine.age import AgeSource, encrypt, identity_of
from workers.engine.progress import SilentReporter
recipient, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
plain = folder / str(size)
with plain.open("wb") as file:
    file.truncate(size)
encrypt([plain], folder / f"{size}.age", [recipient], SilentReporter())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_bundle(
    tmp_path: Path, new_key: Callable[[], KeyPair]
) -> None:
    key, peaks = new_key(), []
    for megabytes in (8, 200):
        argv = [sys.executable, "-c", MEMORY, key.recipient, str(tmp_path), str(megabytes << 20)]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 8 << 10, f"{peaks} KiB"

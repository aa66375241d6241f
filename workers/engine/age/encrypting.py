"""Encrypting files into one, and proving that it can be decrypted while that can be proven."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyrage

from workers.engine.age.errors import AgeError
from workers.engine.age.keys import checked_recipients, identity_of
from workers.engine.age.source import AgeSource
from workers.engine.progress import Reporter
from workers.engine.room import out_of_room, writing
from workers.engine.sources import FilesSource, chunks_of

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """An encrypted file, and what it decrypts to, as its read-back showed; checksums in hex."""

    path: Path
    size: int
    sha256: str
    plain_size: int
    plain_sha256: str


def encrypt(
    paths: Sequence[Path], target: Path, recipients: Sequence[str], reporter: Reporter
) -> EncryptedFile:
    """Encrypt the files, end to end, into `target`, which must not exist; sync and read it back.

    Whoever can only encrypt cannot see whether it went well, and a fault of the memory would be
    found years later. So the file is also encrypted to a key that is made here, kept nowhere and
    forgotten at the end; with it everything is decrypted again and hashed. `reporter.advance`
    counts each byte twice. Raises `RecipientInvalid`, `AgeDamaged`, `EngineError` for a full disk.
    """
    passing = pyrage.x25519.Identity.generate()
    keys = [
        pyrage.x25519.Recipient.from_str(recipient) for recipient in checked_recipients(recipients)
    ]
    if not keys:
        raise AgeError("There is nobody to encrypt to", code="age_recipient_invalid")
    with out_of_room(target.parent), FilesSource(paths) as source, target.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        hasher = _encrypted(source, file, [*keys, passing.to_public()], reporter)
        os.fsync(file.fileno())
    _sync(target.parent)
    with FilesSource([target]) as stored:
        plain, plain_size = hashlib.sha256(), 0
        for chunk in chunks_of(AgeSource(stored, [identity_of(str(passing))])):
            plain.update(chunk)
            plain_size += len(chunk)
            reporter.advance(len(chunk))
        return EncryptedFile(target, stored.size, hasher.hexdigest(), plain_size, plain.hexdigest())


def _encrypted(
    source: FilesSource,
    file: io.BufferedWriter,
    keys: Sequence[pyrage.x25519.Recipient],
    reporter: Reporter,
) -> hashlib._Hash:
    raw, sink = _Reading(source, reporter), _Writing(file)
    reporter.check()
    try:
        pyrage.encrypt_io(io.BufferedReader(raw, READ_BYTES), sink, keys)
    except pyrage.EncryptError as error:
        # pyrage makes texts of what our own methods raise.
        if cause := raw.failure or sink.failure:
            raise cause from None
        raise AgeError(f"The bundle could not be encrypted: {error}") from error
    return sink.hasher


class _Reading(io.RawIOBase):
    """What pyrage reads from; ends the work where the reporter says so."""

    def __init__(self, source: FilesSource, reporter: Reporter) -> None:
        self.failure: BaseException | None = None
        self._source = source
        self._reporter = reporter
        self._position = 0

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase.readinto`."""
        try:
            data = self._source.read_at(self._position, len(buffer))
            self._reporter.advance(len(data))
        # Raised again outside, as it is: a stop is no `Exception`.
        except BaseException as failure:
            self.failure = failure
            raise
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Writing:
    """What pyrage writes to, a chunk at a time; hashes what is written."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.failure: BaseException | None = None
        self.hasher = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        """Write and hash."""
        try:
            with writing():
                self._file.write(data)
        except BaseException as failure:
            self.failure = failure
            raise
        self.hasher.update(data)
        return len(data)

    def flush(self) -> None:
        """Hand everything to the system."""
        try:
            with writing():
                self._file.flush()
        except BaseException as failure:
            self.failure = failure
            raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Encrypting a sealed bundle, and taking the plain one away once nobody needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.engine.age import EncryptedFile, encrypt, encrypted_size
from workers.engine.bundle import BundleDamaged, SealedBundle
from workers.engine.bundle.segment import SEGMENT_NAME
from workers.engine.progress import Reporter
from workers.stages.context import StageContext, WorkMissing
from workers.stages.room import require_room

# What plain `age` and everybody's tools call such a file.
KEY_SUFFIX = ".age"
FOLDER_NAME = "encrypted"
# What is read of the bundle: once to check it, once to encrypt it, once to see that it decrypts.
PASSES = 3


class OneOfSeveral:
    """A reporter for work that goes through the bundle several times; each pass tells its total."""

    def __init__(self, reporter: Reporter, passes: int) -> None:
        self._reporter = reporter
        self._passes = passes
        self.advance = reporter.advance
        self.detail = reporter.detail
        self.warn = reporter.warn
        self.check = reporter.check

    def total(self, bytes_total: int) -> None:
        """See `Reporter.total`."""
        self._reporter.total(bytes_total * self._passes)


def encrypt_sealed(
    context: StageContext, sealed: SealedBundle, reporter: Reporter
) -> EncryptedFile:
    """Encrypt the bundle into a folder of its own below the attempt's.

    The plain parts stay for now: only when the row says that this stage is done does the
    encrypted file count, and an attempt that died before needs them.
    """
    require_room(
        context,
        encrypted_size(sealed.size),
        f"the encrypted bundle of {context.site.name}",
        is_first=False,
    )
    context.reporter.detail("Encrypting")
    folder = context.directory / FOLDER_NAME
    folder.mkdir(mode=0o700)
    made = encrypt(sealed.paths, folder / SEGMENT_NAME, context.store.recipients, reporter)
    if (made.plain_size, made.plain_sha256) != (sealed.size, sealed.sha256):
        raise BundleDamaged(
            "The encrypted bundle does not decrypt to what was sealed",
            hint="The node's disk or memory may be failing: look at its system log. "
            "Nothing was uploaded.",
        )
    return made


def outputs_of(context: StageContext, made: EncryptedFile, parts: Sequence[str]) -> dict[str, Any]:
    """Return what later stages and the catalogue know of an encrypted bundle."""
    return {
        "parts": [f"{context.directory.name}/{FOLDER_NAME}"],
        "plain_parts": list(parts),
        "size": made.size,
        "sha256": made.sha256,
        "plain_size": made.plain_size,
        "plain_sha256": made.plain_sha256,
        "encrypted_to": list(context.store.recipients),
    }


def require_recipients(context: StageContext, sealed: Mapping[str, Any]) -> None:
    """Raise `WorkMissing` unless the bundle is encrypted to whom the storage names now.

    Who was removed meanwhile may be so because the key is lost or stolen; and nothing plain may
    go to a storage that is to hold nothing plain.
    """
    if sorted(sealed.get("encrypted_to", [])) != sorted(context.store.recipients):
        raise WorkMissing(
            "The storage's recipients were changed after the bundle had been sealed",
            hint="The job begins again and encrypts to those that are named now.",
        )


def remove_plain(context: StageContext, sealed: Mapping[str, Any]) -> None:
    """Remove the parts that an encrypted bundle was made of, with the lists of what is in them.

    Called by the stage after: only once this one's end is recorded can nobody need them.
    """
    folders = [context.job_directory / part for part in sealed.get("plain_parts", [])]
    for path in _files_of(folders):
        context.reporter.check()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _files_of(folders: Iterable[Path]) -> list[Path]:
    """Return the files of these folders, not those of folders in them: one holds what counts."""
    return [path for folder in folders for path in folder.glob("*") if not path.is_dir()]

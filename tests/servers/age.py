"""The program `age` itself, which shares nothing with the code under test."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest


@dataclass(frozen=True)
class KeyPair:
    """A secret key in a file as age-keygen writes it, and the public key."""

    file: Path
    secret: str
    recipient: str


def make_key(file: Path) -> KeyPair:
    """Make a pair of keys, the secret one readable by its owner only."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    file.touch(mode=0o600)
    file.write_text(f"# public key: {recipient}\n{identity}\n")
    return KeyPair(file, str(identity), recipient)


@pytest.fixture(scope="session")
def age_program() -> str:
    """Return the path of `age`."""
    found = shutil.which("age")
    if not found:
        pytest.fail("The program age is missing: install Debian's package age (make test does).")
    return found


def decrypt(program: str, key: KeyPair, file: Path, target: Path) -> Path:
    """Decrypt a file as a person would: `age -d -i KEY FILE > TARGET`."""
    with target.open("wb") as plain:
        argv = [program, "-d", "-i", str(key.file), str(file)]
        subprocess.run(argv, check=True, stdout=plain, stderr=subprocess.PIPE)
    return target

"""Public keys that bundles are encrypted to, and the secret ones that open them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workers.engine.age import bech32
from workers.engine.age.errors import IdentityUnusable, RecipientInvalid

SECRET_PREFIX = "AGE-SECRET-KEY-"  # noqa: S105
MOST_RECIPIENTS = 20
KEY_BYTES = 32
FILE_KEY_BYTES = 16
IDENTITY_FILE_BYTES = 64 << 10
_LABEL = b"age-encryption.org/v1/X25519"


@dataclass(frozen=True, slots=True)
class Identity:
    """A secret key; `recipient` is the public one that goes with it, as `age1…`."""

    recipient: str
    _public: bytes = field(repr=False)
    _secret: X25519PrivateKey = field(repr=False)

    def unwrap(self, share: bytes, wrapped: bytes) -> bytes | None:
        """Return the file key from a stanza of type X25519; None if it is not for this key."""
        try:
            secret = self._secret.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            # A share of low order, which would make the same secret with every key.
            return None
        wrapping = HKDF(SHA256(), KEY_BYTES, share + self._public, _LABEL).derive(secret)
        try:
            return ChaCha20Poly1305(wrapping).decrypt(bytes(12), wrapped, None)
        except InvalidTag:
            return None


def checked_recipients(recipients: Iterable[str]) -> tuple[str, ...]:
    """Return public keys as they are kept, each once; raises `RecipientInvalid`.

    Only X25519 (`age1…`): a passphrase or a key of another kind could not be unwrapped here.
    """
    checked = tuple(dict.fromkeys(_checked(text.strip()) for text in recipients))
    if len(checked) > MOST_RECIPIENTS:
        raise RecipientInvalid(f"More than {MOST_RECIPIENTS} recipients cannot be given")
    return checked


def _checked(text: str) -> str:
    if text.upper().startswith(SECRET_PREFIX):
        raise RecipientInvalid(
            "This is a secret key, which must never be given here",
            hint="Give the public one, which begins with age1. As somebody may have seen the "
            "secret key now, make a new pair.",
        )
    if text.startswith("ssh-"):
        raise RecipientInvalid(
            "SSH keys are not accepted as recipients",
            hint="Make a pair with age-keygen and give its public key, which begins with age1.",
        )
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError as error:
        raise RecipientInvalid(
            f"{text[:80]!r} is no public key of age",
            hint="One begins with age1 and has 62 characters; age-keygen prints it.",
        ) from error


def identity_of(text: str) -> Identity:
    """Return the secret key that `AGE-SECRET-KEY-1…` says; raises `IdentityUnusable`."""
    data = bech32.decode(SECRET_PREFIX, text.strip())
    if data is None or len(data) != KEY_BYTES:
        raise IdentityUnusable(
            "A secret key of age cannot be read",
            hint="One begins with AGE-SECRET-KEY-1 and has 74 characters. Of other kinds, such as "
            "those of plugins, none are accepted.",
        )
    secret = X25519PrivateKey.from_private_bytes(data)
    recipient = str(pyrage.x25519.Identity.from_str(text.strip().upper()).to_public())
    return Identity(recipient, secret.public_key().public_bytes_raw(), secret)


def read_identities(path: Path) -> Sequence[Identity]:
    """Return the secret keys in a file as age-keygen writes it; raises `IdentityUnusable`.

    A file that anybody but its owner may read is refused: what it protects would be open too.
    """
    lines = [line.strip() for line in _private_text(path).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise IdentityUnusable(f"{path} holds no secret key", hint="Make one with age-keygen.")
    try:
        return [identity_of(key) for key in keys]
    except IdentityUnusable as error:
        raise IdentityUnusable(
            f"{path} holds a line that is no secret key of age", hint=error.hint
        ) from error


def _private_text(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise IdentityUnusable(
            f"The file of secret keys, {path}, cannot be opened: {error.strerror}",
            hint="See that it is there and belongs to the user who needs it.",
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > IDENTITY_FILE_BYTES:
            raise IdentityUnusable(f"{path} is no file of secret keys")
        if found.st_mode & 0o077:
            raise IdentityUnusable(
                f"{path} may be read by others than its owner (mode {found.st_mode & 0o777:04o})",
                hint=f"It holds secret keys: chmod 600 {path}",
            )
        return os.read(descriptor, IDENTITY_FILE_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)

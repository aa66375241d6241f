"""The head of an age file: who may open it, and that nobody changed it.

https://c2sp.org/age: a line with the version, a stanza for each recipient, a MAC over all of it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workers.engine.age.errors import AgeError, HeaderDamaged, NoIdentity, Truncated
from workers.engine.age.keys import FILE_KEY_BYTES, KEY_BYTES, Identity
from workers.engine.sources import ByteSource

MAGIC = b"age-encryption.org/v1\n"
ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
NONCE_BYTES = 16
X25519 = b"X25519"
# Of 20 recipients 2 KiB; what is larger was not written here.
FIRST_BYTES = 4 << 10
MOST_BYTES = 256 << 10
_COLUMNS = 64
_TAG = 16
_END = b"\n--- "
_MAC_LETTERS = 43


@dataclass(frozen=True, slots=True)
class Stanza:
    """The file key, wrapped for one recipient; `words` are its type and what belongs to that."""

    words: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A header whose form is sound; `size` is that of all before the nonce, which follows it."""

    stanzas: tuple[Stanza, ...]
    signed: bytes
    mac: bytes
    size: int
    nonce: bytes

    def payload_key(self, identities: Sequence[Identity]) -> bytes:
        """Return the key of what follows; raises `NoIdentity`, and `AgeDamaged` for a wrong MAC."""
        file_key = self._file_key(identities)
        mac_key = HKDF(SHA256(), KEY_BYTES, b"", b"header").derive(file_key)
        if not hmac.compare_digest(hmac.digest(mac_key, self.signed, "sha256"), self.mac):
            raise HeaderDamaged("it is not what was written")
        return HKDF(SHA256(), KEY_BYTES, self.nonce, b"payload").derive(file_key)

    def _file_key(self, identities: Sequence[Identity]) -> bytes:
        for stanza in self.stanzas:
            if stanza.words[0] != X25519:
                continue
            share = _decoded(stanza.words[1]) if len(stanza.words) == 2 else b""
            if len(share) != KEY_BYTES or len(stanza.body) != FILE_KEY_BYTES + _TAG:
                raise HeaderDamaged("what is wrapped for a recipient has a wrong length")
            for identity in identities:
                if (file_key := identity.unwrap(share, stanza.body)) is not None:
                    return file_key
        keys = "the secret key" if len(identities) == 1 else f"the {len(identities)} secret keys"
        raise NoIdentity(
            f"The bundle is encrypted, and {keys} at hand cannot open it"
            if identities
            else "The bundle is encrypted, and no secret key is at hand",
            hint="The backup says whom it is encrypted to. If the right key was used, the head of "
            "the bundle is damaged.",
        )


def read_header(source: ByteSource) -> tuple[Header, int]:
    """Return the header at the beginning of `source`, and how many bytes were fetched for it.

    Raises `AgeDamaged` for anything that is not one.
    """
    size, fetched = FIRST_BYTES, 0
    while True:
        data = source.read_at(0, size)
        fetched += len(data)
        end = data.find(_END)
        if end >= 0 and len(data) >= end + len(_END) + _MAC_LETTERS + 1 + NONCE_BYTES:
            return _parsed(data, end + 1), fetched
        if not data.startswith(MAGIC[: len(data)]):
            raise _no_header(data)
        if len(data) < size:
            raise Truncated("it ends within its head")
        if size >= MOST_BYTES:
            raise HeaderDamaged("it has no end")
        size *= 4


def _no_header(data: bytes) -> AgeError | Exception:
    if data.startswith(ARMOR):
        return AgeError(
            "The bundle is encrypted as text, which cannot be read here",
            hint="Make bytes of it first: age -d -i KEY FILE > bundle.tar.zst",
            code="age_armored",
        )
    return HeaderDamaged("it does not begin as an encrypted file does")


def _parsed(data: bytes, end: int) -> Header:
    """Parse a header whose last line begins at `end`; the form is held to the letter."""
    if not data.startswith(MAGIC):
        raise _no_header(data)
    lines = data[len(MAGIC) : end - 1].split(b"\n") if end > len(MAGIC) else []
    starts = [number for number, line in enumerate(lines) if line.startswith(b"-> ")]
    if not starts or starts[0] != 0:
        raise HeaderDamaged("it names no recipient")
    stanzas = tuple(_stanza(lines[start:stop]) for start, stop in pairwise([*starts, len(lines)]))
    mac_start = end + len(_END) - 1
    mac = _decoded(data[mac_start : mac_start + _MAC_LETTERS])
    size = mac_start + _MAC_LETTERS + 1
    if data[size - 1 : size] != b"\n" or len(mac) != KEY_BYTES:
        raise HeaderDamaged("its checksum cannot be read")
    # The MAC covers everything up to its own line's "---".
    return Header(stanzas, data[: end + 3], mac, size, data[size : size + NONCE_BYTES])


def _stanza(lines: list[bytes]) -> Stanza:
    words = tuple(lines[0].split(b" ")[1:])
    if not all(words) or not all(0x21 <= byte <= 0x7E for word in words for byte in word):
        raise HeaderDamaged("a recipient's line cannot be read")
    body = lines[1:]
    if not body or len(body[-1]) >= _COLUMNS or any(len(line) != _COLUMNS for line in body[:-1]):
        raise HeaderDamaged("what is wrapped for a recipient cannot be read")
    return Stanza(words, _decoded(b"".join(body)))


def _decoded(text: bytes) -> bytes:
    """Decode base64 without padding, of which there is one spelling only."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise HeaderDamaged("a part of it is no base64") from None
    if base64.b64encode(data).rstrip(b"=") != text:
        raise HeaderDamaged("a part of it is no base64")
    return data

"""Bundles that nobody reads without a key: the age format (age-encryption.org/v1), X25519 only.

Encrypting is pyrage's work. Decrypting is our own, since pyrage reads a stream from its beginning:
`AgeSource` decrypts only the pieces that are asked for, so that one file of a bundle can be fetched
without the rest. What it reads and refuses is in docs/encryption.md.
"""

from workers.engine.age.encrypting import EncryptedFile, encrypt
from workers.engine.age.errors import AgeDamaged, AgeError, NoIdentity
from workers.engine.age.header import MAGIC
from workers.engine.age.keys import Identity, checked_recipients, identity_of, read_identities
from workers.engine.age.source import AgeSource, encrypted_size, is_age, plain_source

__all__ = [
    "MAGIC",
    "AgeDamaged",
    "AgeError",
    "AgeSource",
    "EncryptedFile",
    "Identity",
    "NoIdentity",
    "checked_recipients",
    "encrypt",
    "encrypted_size",
    "identity_of",
    "is_age",
    "plain_source",
    "read_identities",
]

"""Bech32 (BIP 173) without its limit of 90 characters, as age writes keys."""

from __future__ import annotations

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def decode(prefix: str, text: str) -> bytes | None:
    """Return the bytes that `text` holds after `prefix`; None if it is not sound."""
    if text not in (text.lower(), text.upper()):
        return None
    text, prefix = text.lower(), prefix.lower()
    if not text.startswith(prefix + "1"):
        return None
    letters = text[len(prefix) + 1 :]
    values = [_LETTERS.find(letter) for letter in letters]
    if len(values) < _CHECKSUM or -1 in values:
        return None
    expanded = [ord(letter) >> 5 for letter in prefix] + [0]
    expanded += [ord(letter) & 31 for letter in prefix]
    if _polymod(expanded + values) != 1:
        return None
    return _to_bytes(values[:-_CHECKSUM])


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _to_bytes(values: list[int]) -> bytes | None:
    """Put five bits each together; what is left over must be less than five zeros."""
    number = 0
    for value in values:
        number = number << 5 | value
    rest = len(values) * 5 % 8
    if rest >= 5 or number & ((1 << rest) - 1):
        return None
    return (number >> rest).to_bytes(len(values) * 5 // 8, "big")

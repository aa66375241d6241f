"""What is looked for when a site moves, and what stands there afterwards.

A URL or a path is found however its slashes are written: plain, or as JSON escapes them (JSON
inside JSON escapes the escapes). It ends where a name ends: `http://a.example` is not found in
`http://a.example.com`, nor `/srv/site` in `/srv/site2`. All is done in one pass, so what was put
in is never replaced again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, urlsplit

from workers.engine.errors import EngineError

_NOT_IN_URL = re.compile(r"[\s\"'<>\\\x00-\x1f\x7f]")
# No, one, two and three times encoded as JSON.
_SLASHES = (b"/", rb"\/", rb"\\\/", rb"\\\\\\\/")
_SLASH = rb"(?:\\{7}|\\{3}|\\)?/"
# "https:" and two slashes stand before a URL's host, which is its needle.
_MOST_BEFORE_NEEDLE = len("https:") + 2 * len(_SLASHES[-1])
_NAME_ENDS = rb"(?![A-Za-z0-9_-]|\.[A-Za-z0-9])"
_HOST_ENDS = rb"(?![A-Za-z0-9_-]|\.[A-Za-z0-9]|:[0-9])"
# In JSON a line break before a path is a backslash and a letter.
_PATH_BEGINS = rb"(?:(?<![A-Za-z0-9_.\\-])|(?<=\\[nrt]))"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look for.

    `pattern` is a regular expression whose groups' names begin with `{id}`, a place for the rule's
    own number; `needles` are byte strings of which every match holds one.
    """

    pattern: Callable[[bytes], bytes]
    replacement: Callable[[re.Match[bytes], str], bytes]
    needles: tuple[bytes, ...]


class Replacements:
    """Several rules, applied in one pass. Of two that fit at the same place the first one wins."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        named = (
            b"(?P<r%d>%b)" % (number, rule.pattern(b"r%d" % number))
            for number, rule in enumerate(self._rules)
        )
        # A pattern that never fits stands for no rules at all.
        self._pattern = re.compile(b"|".join(named) or b"(?!)")
        # Byte strings of which each text that `apply` would change holds at least one.
        self.needles = tuple(dict.fromkeys(n for rule in self._rules for n in rule.needles))

    def found_in(self, text: bytes) -> bool:
        """Tell whether `apply` would find anything."""
        return next(self._matches(text), None) is not None

    def apply(self, text: bytes) -> bytes:
        """Return the text with everything replaced."""
        pieces: list[bytes] = []
        done = 0
        for match in self._matches(text):
            pieces += [text[done : match.start()], self._replaced(match)]
            done = match.end()
        return b"".join([*pieces, text[done:]]) if pieces else text

    def _matches(self, text: bytes) -> Iterator[re.Match[bytes]]:
        """Yield the matches in turn.

        A regular expression goes through a text byte by byte, which takes a hundred times as long
        as looking for a needle; so it is asked only from shortly before the next of these on.
        """
        hits = {needle: hit for needle in self.needles if (hit := text.find(needle)) >= 0}
        position = 0
        while hits:
            start = max(position, min(hits.values()) - _MOST_BEFORE_NEEDLE)
            match = self._pattern.search(text, start)
            if match is None:
                return
            yield match
            position = match.end()
            for needle, hit in list(hits.items()):
                if hit < position:
                    hits[needle] = text.find(needle, position)
                    if hits[needle] < 0:
                        del hits[needle]

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        names = (f"r{number}" for number in range(len(self._rules)))
        name = next(name for name in names if match[name] is not None)
        return self._rules[int(name[1:])].replacement(match, name)


def for_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> Replacements:
    """Return replacements of plain byte strings, longer ones first."""
    ordered = sorted(pairs, key=lambda pair: -len(pair[0]))
    return Replacements(_plain(old, new) for old, new in ordered if old and old != new)


def for_move(
    *, old_url: str = "", new_url: str = "", old_path: str = "", new_path: str = ""
) -> Replacements:
    """Return the replacements of a site's URL and of the folder it is in; empty ones are left out.

    http and https of the old URL are taken for the same site, as is the URL without a scheme
    (`//a.example`) and the one encoded for use in another URL. Raises `EngineError`, permanent
    (`move_unusable`), for what is no URL or would fit anywhere.
    """
    rules: list[Rule] = []
    old_url, new_url = old_url.rstrip("/"), new_url.rstrip("/")
    old_path, new_path = old_path.rstrip("/"), new_path.rstrip("/")
    if old_url and old_url != new_url:
        old, new = _Url.parse(old_url), _Url.parse(new_url)
        rules += [_url(old, new), _encoded(old, new)]
    if old_path and old_path != new_path:
        rules.append(_path(_absolute(old_path), _absolute(new_path)))
    return Replacements(rules)


@dataclass(frozen=True, slots=True)
class _Url:
    scheme: bytes
    host: bytes
    folders: tuple[bytes, ...]

    @classmethod
    def parse(cls, url: str) -> _Url:
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if not known or parts.query or parts.fragment or _NOT_IN_URL.search(url):
            raise _unusable(f"{url!r} is no URL of a site", "https://example.com/blog")
        folders = tuple(part.encode() for part in parts.path.split("/") if part)
        return cls(parts.scheme.encode(), parts.netloc.encode(), folders)


def _absolute(path: str) -> tuple[bytes, ...]:
    parts = tuple(part.encode("utf-8", "surrogateescape") for part in path.split("/") if part)
    if not path.startswith("/") or not parts or b".." in parts or "\0" in path:
        raise _unusable(f"{path!r} is no absolute path of a folder", "/srv/www/example.com")
    return parts


def _unusable(message: str, example: str) -> EngineError:
    hint = f"Give it as in {example}."
    return EngineError(message, hint=hint, permanent=True, code="move_unusable")


def _plain(old: bytes, new: bytes) -> Rule:
    return Rule(lambda _id: re.escape(old), lambda _match, _name: new, (old,))


def _url(old: _Url, new: _Url) -> Rule:
    tail = (old.host, *old.folders)

    def pattern(name: bytes) -> bytes:
        slash = b"(?P=%bs)" % name
        begins = rb"(?:(?P<%bc>https?:)|(?<![:\\/A-Za-z0-9_]))(?P<%bs>%b)" % (name, name, _SLASH)
        named = slash.join(map(re.escape, tail))
        return begins + slash + named + (_NAME_ENDS if old.folders else _HOST_ENDS)

    def replacement(match: re.Match[bytes], name: str) -> bytes:
        slash = match[f"{name}s"]
        scheme = new.scheme + b":" if match[f"{name}c"] else b""
        return scheme + slash * 2 + slash.join((new.host, *new.folders))

    return Rule(pattern, replacement, (old.host,))


def _encoded(old: _Url, new: _Url) -> Rule:
    """Return the rule for URLs as they stand in another URL's query."""
    host = _quoted(old.host)

    def pattern(name: bytes) -> bytes:
        slash = b"(?P=%bs)" % name
        begins = b"https?%%3[Aa](?P<%bs>%%2[Ff])" % name
        # Folders may be encoded once more, or not, where they have other letters than ASCII's.
        named = slash.join(map(re.escape, (host, *map(_quoted, old.folders))))
        return begins + slash + named + _NAME_ENDS

    def replacement(match: re.Match[bytes], name: str) -> bytes:
        slash = match[f"{name}s"]
        colon = b"%3a" if slash == b"%2f" else b"%3A"
        named = slash.join((_quoted(new.host), *map(_quoted, new.folders)))
        return new.scheme + colon + slash * 2 + named

    return Rule(pattern, replacement, (host,))


def _quoted(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode()


def _path(old: tuple[bytes, ...], new: tuple[bytes, ...]) -> Rule:
    def pattern(name: bytes) -> bytes:
        slash = b"(?P=%bs)" % name
        named = slash.join(map(re.escape, old))
        return _PATH_BEGINS + b"(?P<%bs>%b)" % (name, _SLASH) + named + _NAME_ENDS

    def replacement(match: re.Match[bytes], name: str) -> bytes:
        slash = match[f"{name}s"]
        return b"".join(slash + part for part in new)

    needles = tuple(b"".join(slash + part for part in old) for slash in _SLASHES)
    return Rule(pattern, replacement, needles)

"""Which files a backup leaves out: patterns in the manner of .gitignore, matched fast.

A pattern without a slash matches a name in any folder; with one (other than at its end) it matches
the path from the archive's root. A slash at the end means folders only, and a folder that matches
is left out with all that it holds. `*` and `?` stop at slashes, `**` does not, `[…]` is a set,
a backslash takes the next character as it is. Empty lines and those that begin with `#` are
skipped. Matching looks at bytes and is case-sensitive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.engine.errors import EngineError

# What can be made again, or is a backup itself. Version control (.git) stays in: it may hold the
# only copy of somebody's work. Anything unsure stays in too.
DEFAULT_PATTERNS: tuple[str, ...] = (
    # caches
    "wp-content/cache/",
    "wp-content/et-cache/",
    "wp-content/litespeed/",
    "wp-content/wphb-cache/",
    "wp-content/uploads/cache/",
    "wp-content/uploads/elementor/tmp/",
    "wp-content/upgrade/",
    "wp-content/upgrade-temp-backup/",
    "node_modules/",
    ".sass-cache/",
    # logs
    "*.log",
    "error_log",
    "wp-content/wflogs/",
    "wp-content/uploads/wc-logs/",
    # backups that other plugins made
    "wp-content/updraft/",
    "wp-content/ai1wm-backups/",
    "wp-content/backups-dup-lite/",
    "wp-content/backups-dup-pro/",
    "wp-content/backup-db/",
    "wp-content/backupwordpress-*/",
    "wp-content/backuply/",
    "wp-content/wpvividbackups/",
    "wp-content/uploads/backupbuddy_backups/",
    "wp-content/uploads/backupbuddy_temp/",
    "wp-content/uploads/backwpup-*-backups/",
    "wp-content/uploads/wp-staging/backups/",
    "wp-content/uploads/wp-file-manager-pro/fm_backup/",
    "wp-content/uploads/wp-clone/",
    "*.wpress",
    "*.daf",
)

_META = re.compile(r"[*?\[\\]")
_SUFFIX = re.compile(r"\*(\.[^*?\[\\./]+)")
_TOKEN = re.compile(
    r"\\(?P<literal>.)|(?P<stars>\*+)|(?P<one>\?)|\[(?P<set>!?\]?[^]]*)\]|(?P<c>.)", re.S
)


class BadPattern(EngineError):
    """A pattern that cannot be understood."""

    code = "bad_exclude_pattern"

    def __init__(self, pattern: str, problem: str) -> None:
        super().__init__(
            f"The exclude pattern {pattern!r} {problem}",
            hint="Correct it in the site's list of exclusions.",
            permanent=True,
        )


@dataclass(frozen=True, slots=True)
class _Rule:
    """A compiled pattern: exactly one of the last four is set, the cheapest that does it."""

    pattern: str
    folders_only: bool
    name: bytes = b""
    suffix: bytes = b""
    path: bytes = b""
    expression: bytes = b""


class Excludes:
    """Compiled patterns, and exact paths that are left out for a reason of their own.

    `exact_paths` are paths from the archive's root whose content is in the bundle in another form,
    such as the file of an SQLite database. Raises `BadPattern`.
    """

    def __init__(self, patterns: Iterable[str] = (), exact_paths: Sequence[bytes] = ()) -> None:
        self.patterns = tuple(patterns)
        self.exact_paths = tuple(exact_paths)
        rules = [_compile(line) for line in self.patterns if line.strip() and line[0] != "#"]
        self._folders = _Matcher(rules, self.exact_paths)
        self._files = _Matcher([rule for rule in rules if not rule.folders_only], self.exact_paths)
        self.match_file = self._files.match
        self.match_folder = self._folders.match

    def match(self, path: bytes, *, is_folder: bool = False) -> str | None:
        """Return the pattern that leaves out `path` or a folder above it, or None."""
        parts = path.split(b"/")
        for depth in range(1, len(parts) + 1):
            matches = self.match_folder if is_folder or depth < len(parts) else self.match_file
            found = matches(b"/".join(parts[:depth]), parts[depth - 1])
            if found is not None:
                return found
        return None


EXACT_PATH = "(in the bundle in another form)"


class _Matcher:
    def __init__(self, rules: Sequence[_Rule], exact_paths: Sequence[bytes]) -> None:
        self._names = {rule.name: rule.pattern for rule in rules if rule.name}
        self._suffixes = {rule.suffix: rule.pattern for rule in rules if rule.suffix}
        self._paths = {rule.path: rule.pattern for rule in rules if rule.path}
        self._paths.update(dict.fromkeys(exact_paths, EXACT_PATH))
        complex_rules = [rule for rule in rules if rule.expression]
        self._complex = [rule.pattern for rule in complex_rules]
        joined = b"|".join(b"(" + rule.expression + b")" for rule in complex_rules)
        self._expression = re.compile(joined, re.DOTALL) if joined else None

    def match(self, path: bytes, name: bytes) -> str | None:
        """Return the pattern that matches `path`, whose last part is `name`; not its parents."""
        if (found := self._names.get(name)) is not None:
            return found
        dot = name.rfind(b".")
        if dot >= 0 and (found := self._suffixes.get(name[dot:])) is not None:
            return found
        if (found := self._paths.get(path)) is not None:
            return found
        if self._expression is not None and (hit := self._expression.fullmatch(path)):
            return self._complex[(hit.lastindex or 1) - 1]
        return None


def _compile(line: str) -> _Rule:
    # As in .gitignore, a space at the end counts only after a backslash.
    text = line if line.endswith("\\ ") else line.rstrip()
    if text.startswith("!"):
        raise BadPattern(line, "begins with “!”, but what is left out cannot be taken back in")
    if "\0" in text or "\n" in text:
        raise BadPattern(line, "holds a character that no pattern can hold")
    folders_only = text.endswith("/")
    anchored = "/" in text.rstrip("/")
    body = text.strip("/")
    if not body or set(body) <= {"*", "/"}:
        raise BadPattern(line, "would leave out everything" if body or folders_only else "is empty")
    if any(part in ("", ".", "..") for part in body.split("/")):
        raise BadPattern(line, "has a part that is empty, “.” or “..”")
    if not _META.search(body):
        if anchored:
            return _Rule(line, folders_only, path=os.fsencode(body))
        return _Rule(line, folders_only, name=os.fsencode(body))
    if not anchored and (suffix := _SUFFIX.fullmatch(body)):
        return _Rule(line, folders_only, suffix=os.fsencode(suffix[1]))
    expression = _expression(line, body)
    return _Rule(
        line, folders_only, expression=expression if anchored else b"(?:.*/)?" + expression
    )


def _expression(line: str, body: str) -> bytes:
    """Return the regular expression (without capturing groups) for a pattern with wildcards."""
    translated = []
    position = 0
    while position < len(body):
        token = _TOKEN.match(body, position)
        assert token is not None
        if token["literal"] is None and token["set"] is None and token[0] in ("[", "\\"):
            raise BadPattern(line, f"has a “{token[0]}” that is not closed")
        position = token.end()
        if token["stars"] == "**" and body[position : position + 1] == "/":
            translated.append(b"(?:[^/]+/)*")
            position += 1
        else:
            translated.append(_translate(line, token))
    return b"".join(translated)


def _translate(line: str, token: re.Match[str]) -> bytes:
    if token["stars"] is not None:
        return b"[^/]*" if len(token["stars"]) == 1 else b".*"
    if token["one"] is not None:
        # One character, however many bytes UTF-8 takes for it.
        return rb"(?:[^/\x80-\xff]|[\xc0-\xff][\x80-\xbf]*|[\x80-\xbf])"
    if token["set"] is None:
        return re.escape(os.fsencode(token["literal"] or token["c"]))
    return _translate_set(line, token["set"])


def _translate_set(line: str, body: str) -> bytes:
    negated = body.startswith("!")
    chosen = body[1:] if negated else body
    if not chosen.isascii():
        raise BadPattern(line, "has characters other than ASCII in “[…]”")
    inner = re.sub(rb"([\\\[\]^&~|])", rb"\\\1", chosen.encode())
    expression = b"[^/" + inner + b"]" if negated else b"[" + inner + b"]"
    try:
        re.compile(expression)
    except re.error as error:
        raise BadPattern(line, f"has a wrong range in “[{body}]”") from error
    return expression

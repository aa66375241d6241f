"""Changes settings in `wp-config.php`, and nothing else in it.

Only values that are plain literals are changed, each in its place: `define( 'DB_NAME', '…' )`,
`const DB_NAME = '…';`, `$table_prefix = '…';`. One that stands in several branches is changed in
all of them. Afterwards the file is read as a backup reads it: unless it then says what was asked
for, the change is refused. The file itself is written by the caller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.php.files import SiteFiles, decode
from workers.engine.php.interpreter import evaluate_file
from workers.engine.php.literals import PhpSyntaxError
from workers.engine.php.tokens import Kind, Token, tokenize
from workers.engine.php.values import Unknown
from workers.engine.wordpress.config import PREFIX

TABLE_PREFIX = "$table_prefix"
REQUIRED = frozenset(("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", TABLE_PREFIX))
# Where the file does not set these, the database does; so there is nothing to change.
OPTIONAL = frozenset(("WP_HOME", "WP_SITEURL"))

_BOM = b"\xef\xbb\xbf"


class SettingNotLiteral(EngineError):
    """A setting stands in the file in a way that cannot be changed without understanding it."""

    code = "wp_config_not_literal"


@dataclass(frozen=True, slots=True)
class EditedConfig:
    """The new file's content, and which settings were changed; others of those asked are not set.

    The content holds the database's password.
    """

    content: bytes = field(repr=False)
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Edited(SiteFiles):
    """The site's files with one of them as it is to become."""

    path: str = ""
    content: bytes = b""

    def read(self, path: str) -> tuple[Path, bytes] | Unknown:
        if path == self.path:
            return Path(path), self.content
        # Not super(): slots make a new class, which the one named here is not.
        return SiteFiles.read(self, path)


def rewrite_wp_config(
    path: Path, changes: Mapping[str, str], *, site: Path | None = None
) -> EditedConfig:
    """Return the content of the `wp-config.php` at `path` with the settings in `changes`.

    Names are those in `REQUIRED` and `OPTIONAL`. `site` is WordPress's folder, where it is not
    the file's. Raises `EngineError`, permanent: `wp_config_unreadable`; `wp_config_not_literal`
    for a setting that is missing, computed, or set elsewhere too.
    """
    path = Path(os.path.realpath(path))
    folder = site or path.parent
    try:
        owner = path.stat().st_uid
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be looked at") from error
    roots = tuple({folder, folder.parent, path.parent} - {Path("/")})
    opened = SiteFiles(roots, owner, None).read(str(path))
    if isinstance(opened, Unknown):
        raise _unreadable(path, opened.reason)
    edited = edit_settings(opened[1], changes, name=path.name)
    files = _Edited(roots, owner, None, path=str(path), content=edited.content)
    _prove(path, folder, files, {name: changes[name] for name in edited.changed})
    return edited


def edit_settings(
    content: bytes, changes: Mapping[str, str], *, name: str = "wp-config.php"
) -> EditedConfig:
    """Return `content` with each of the settings changed wherever it is set; see the module."""
    for setting, value in changes.items():
        _require_usable(setting, value)
    bom = _BOM if content.startswith(_BOM) else b""
    source, encoding = decode(content)
    try:
        tokens = tokenize(source, encoding=encoding)
    except PhpSyntaxError as error:
        raise _unreadable(Path(name), f"line {error.line}: {error.message}") from error
    places: list[tuple[int, int, str]] = []
    changed: dict[str, None] = {}
    for setting, values in _settings(tokens):
        if setting not in changes:
            continue
        literal = _literal(values)
        if literal is None:
            raise _not_literal(name, f"line {values[0].line}: {setting} is no plain text")
        changed[setting] = None
        places.append((literal.start, literal.end, _quoted(changes[setting])))
    if missing := sorted(REQUIRED & changes.keys() - changed.keys()):
        raise _not_literal(name, f"{', '.join(missing)} is not set in it as a plain text")
    pieces, copied = [], 0
    for start, end, text in places:
        pieces += [source[copied:start], text]
        copied = end
    edited = "".join([*pieces, source[copied:]])
    try:
        return EditedConfig(bom + edited.encode(encoding), tuple(changed))
    except UnicodeEncodeError as error:
        raise _not_literal(name, "the file is in Latin-1, a new value is not") from error


def _require_usable(setting: str, value: str) -> None:
    if setting not in REQUIRED | OPTIONAL:
        raise ValueError(f"{setting} is none of the settings that may be changed")
    if "\0" in value or (setting == TABLE_PREFIX and not PREFIX.match(value)):
        raise EngineError(
            f"The new value of {setting} cannot be written to wp-config.php",
            hint="A table prefix has letters, digits and _ only; nothing may hold a zero byte.",
            permanent=True,
            code="wp_config_not_literal",
        )


def _settings(tokens: Sequence[Token]) -> list[tuple[str, Sequence[Token]]]:
    """Return each setting that is made in the file, and the tokens of its value."""
    found: list[tuple[str, Sequence[Token]]] = []
    for position, token in enumerate(tokens):
        before = tokens[position - 1] if position else None
        after = tokens[position + 1 : position + 4]
        if token.kind is Kind.VARIABLE and token.text == "table_prefix":
            # Inside of an object it is another one's.
            if after[0].kind is Kind.OPERATOR and after[0].text in _ASSIGNMENTS:
                is_plain = after[0].text == "=" and not _is_operator(before, "::")
                value = _value(tokens, position + 2) if is_plain else [after[0]]
                found.append((TABLE_PREFIX, value))
        elif token.kind is not Kind.NAME:
            continue
        elif token.text.lower().lstrip("\\") == "define" and after[0].is_operator("("):
            is_call = not _is_operator(before, "->", "?->", "::") and not (
                before is not None and before.is_keyword("function", "new")
            )
            if is_call and (name := _text(after[1])) and after[2].is_operator(","):
                found.append((name, _value(tokens, position + 4)))
        elif before is not None and before.is_keyword("const") and after[0].is_operator("="):
            found.append((token.text, _value(tokens, position + 2)))
    return found


_ASSIGNMENTS = frozenset(("=", ".=", "??=", "+="))


def _is_operator(token: Token | None, *texts: str) -> bool:
    return token is not None and token.is_operator(*texts)


def _value(tokens: Sequence[Token], start: int) -> Sequence[Token]:
    """Return the tokens of one argument or assigned value, with what ends it as the last one."""
    depth, position = 0, start
    while tokens[position].kind is not Kind.END:
        token = tokens[position]
        if not depth and token.is_operator(",", ";", ")"):
            break
        if token.is_operator("(", "[", "{"):
            depth += 1
        elif token.is_operator(")", "]", "}"):
            depth -= 1
        position += 1
    return tokens[start : position + 1]


def _literal(values: Sequence[Token]) -> Token | None:
    """Return the string that the value is, None if it is anything else."""
    if len(values) == 2 and _text(values[0]) is not None:
        return values[0]
    return None


def _text(token: Token) -> str | None:
    if token.kind is not Kind.STRING or token.start < 0:
        return None
    if any(not isinstance(part, str) for part in token.parts):
        return None
    return "".join(part for part in token.parts if isinstance(part, str))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _prove(path: Path, site: Path, files: SiteFiles, wanted: Mapping[str, str]) -> None:
    """Raise unless the new file says what it is to say, as far as it can be told."""
    evaluation = evaluate_file(path, files=files, constants={"ABSPATH": f"{site}/"})
    if evaluation.problems:
        raise _not_literal(path.name, evaluation.problems[0])
    for name, value in wanted.items():
        names = evaluation.variables if name == TABLE_PREFIX else evaluation.constants
        binding = names.get(name.removeprefix("$"))
        if binding is None or binding.value != value:
            because = binding.value.reason if binding and isinstance(binding.value, Unknown) else ""
            reason = f" ({because})" if because and name != "DB_PASSWORD" else ""
            raise _not_literal(path.name, f"{name} is set in a way that cannot be followed{reason}")


def _not_literal(name: str, what: str) -> SettingNotLiteral:
    return SettingNotLiteral(
        f"{name} cannot be changed: {what}",
        hint="Write the setting as a plain define( 'NAME', 'value' ), or change the file by hand.",
        permanent=True,
    )


def _unreadable(path: Path, reason: str) -> EngineError:
    return EngineError(
        f"{path} cannot be read: {reason}",
        hint="Let the worker's user read a plain wp-config.php that PHP itself accepts.",
        permanent=True,
        code="wp_config_unreadable",
    )

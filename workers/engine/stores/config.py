"""How a kind of store says what it needs to be told, and how that is checked before it is used."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from workers.engine.errors import EngineError

Config = TypeVar("Config")
Value = str | int | bool

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})


class ConfigInvalid(EngineError):
    """The configuration of a store cannot be right; `field` names what to change."""

    code = "storage_config_invalid"

    def __init__(self, field: str, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint, permanent=True)
        self.field = field


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field of a store's configuration, as a form shows it.

    `type` is "str", "int" or "bool". A `secret` is kept encrypted and never shown again.
    `choices` are all the values allowed, or empty where anything that fits the type is.
    """

    name: str
    type: str
    label: str
    help: str
    required: bool
    secret: bool
    default: Value | None
    choices: tuple[str, ...]


def option(
    label: str,
    help_text: str = "",
    *,
    default: object = dataclasses.MISSING,
    secret: bool = False,
    choices: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401  a field stands where the value of any type will be
    """Declare one field of a configuration dataclass; without `default` it is required."""
    metadata = {"label": label, "help": help_text, "secret": secret, "choices": choices}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def fields_of(config_class: type[Any]) -> tuple[ConfigField, ...]:
    """Return the fields of a dataclass made with `option`, in their order."""
    return tuple(
        ConfigField(
            name=field.name,
            type=str(field.type),
            label=field.metadata["label"],
            help=field.metadata["help"],
            required=field.default is dataclasses.MISSING,
            secret=field.metadata["secret"],
            default=None if field.default is dataclasses.MISSING else field.default,
            choices=field.metadata["choices"],
        )
        for field in dataclasses.fields(config_class)
    )


def parse_config(config_class: type[Config], given: Mapping[str, Any]) -> Config:
    """Build the dataclass from what a person or the API gave.

    Text is accepted for numbers and switches, as forms send it; None and "" mean "not given".
    Raises `ConfigInvalid` (permanent) that names the field and what is allowed.
    """
    fields = {field.name: field for field in fields_of(config_class)}
    for name in given:
        if name not in fields:
            raise _unknown(str(name), list(fields))
    values: dict[str, Any] = {}
    for name, field in fields.items():
        value = given.get(name)
        if value is not None and value != "":
            values[name] = _parsed(field, value)
        elif field.required:
            raise ConfigInvalid(
                name, f"The storage needs {name} ({field.label}).", hint=field.help or "Fill it in."
            )
    return config_class(**values)


def _unknown(name: str, known: list[str]) -> ConfigInvalid:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return ConfigInvalid(
        name,
        f"The storage has no field {name}.{meant}",
        hint=f"Allowed: {', '.join(known)}.",
    )


def _parsed(field: ConfigField, value: object) -> Value:
    parsed = _PARSERS[field.type](value)
    if parsed is None:
        raise ConfigInvalid(
            field.name,
            f"The storage's {field.name} is not {_WANTED[field.type]}.",
            hint=field.help or f"Give {_WANTED[field.type]}.",
        )
    if field.choices and parsed not in field.choices:
        raise ConfigInvalid(
            field.name,
            f"The storage's {field.name} is not one of the values allowed.",
            hint=f"Allowed: {', '.join(field.choices)}.",
        )
    return parsed


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # A line break or a space round a pasted key is never meant, and a NUL ends a path early.
    value = value.strip()
    return None if "\0" in value else value


def _whole_number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return None


def _switch(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


_PARSERS: Mapping[str, Callable[[object], Value | None]] = {
    "str": _text,
    "int": _whole_number,
    "bool": _switch,
}
_WANTED: Mapping[str, str] = {
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
}

"""Reads Compose files as Compose does: interpolation, merge keys, secrets, several files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-?+])([^}]*))?\})")
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class MissingVariableError(Exception):
    """A variable that the file asks for with `:?` is not set."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`."""

    def value(match: re.Match[str]) -> str:
        dollar, plain, braced, operator, word = match.groups()
        if dollar:
            return "$"
        found = variables.get(plain or braced)
        is_there = bool(found) if (operator or "").startswith(":") else found is not None
        if operator and operator.endswith("?") and not is_there:
            raise MissingVariableError(f"{braced}: {word}")
        if operator and operator.endswith("+"):
            return word if is_there else ""
        return (found or "") if is_there or not operator else word

    return _VARIABLE.sub(value, text)


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, variables)
    if isinstance(value, list):
        return [_interpolated(one, variables) for one in value]
    if isinstance(value, dict):
        return {key: _interpolated(one, variables) for key, one in value.items()}
    return value


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one file over another: mappings are joined, lists appended to, the rest is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        elif isinstance(old, list) and isinstance(value, list) and key != "command":
            merged[key] = old + value
        else:
            merged[key] = value
    return merged


def seconds(duration: str) -> float:
    """Return how long `1m30s` is."""
    parts = _DURATION.findall(duration)
    assert parts and "".join(number + unit for number, unit in parts) == duration, duration
    return float(sum(int(number) * _SECONDS[unit] for number, unit in parts))


@dataclass(frozen=True)
class Service:
    """One service as its file describes it, with every variable filled in."""

    name: str
    raw: dict[str, Any]
    secret_files: dict[str, Path]

    @property
    def command(self) -> list[str] | None:
        """The command's words; None for the image's own."""
        command = self.raw.get("command")
        return shlex.split(command) if isinstance(command, str) else command

    @property
    def environment(self) -> dict[str, str]:
        environment: dict[str, str] = self.raw.get("environment", {})
        assert all(isinstance(value, str) for value in environment.values()), environment
        return environment

    @property
    def volumes(self) -> dict[str, str]:
        """Where in the container, and what is there: a volume's name or a folder of the host."""
        parts = [one.split(":") for one in self.raw.get("volumes", [])]
        return {target: source for source, target, *_ in parts}

    @property
    def secrets(self) -> dict[str, Path]:
        """Paths in the container, and the files of the host that are there."""
        return {
            f"/run/secrets/{name}": self.secret_files[name] for name in self.raw.get("secrets", [])
        }

    @property
    def depends_on(self) -> dict[str, str]:
        """Other services, and what is waited for."""
        wanted = self.raw.get("depends_on", {})
        return {name: how["condition"] for name, how in wanted.items()}

    @property
    def grace_seconds(self) -> float:
        return seconds(self.raw.get("stop_grace_period", "10s"))


@dataclass(frozen=True)
class Composition:
    """One or several Compose files, of which later ones are laid over earlier ones."""

    services: dict[str, Service]
    raw: dict[str, Any]

    @classmethod
    def load(cls, *paths: Path, variables: Mapping[str, str]) -> Composition:
        raw: dict[str, Any] = {}
        for path in paths:
            raw = _merged(raw, _interpolated(yaml.safe_load(path.read_text()), variables))
        files = {
            name: (paths[0].parent / secret["file"]).resolve()
            for name, secret in raw.get("secrets", {}).items()
        }
        services = {name: Service(name, one, files) for name, one in raw["services"].items()}
        return cls(services, raw)

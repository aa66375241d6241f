"""Reads systemd's units, as far as ours go: sections, continued lines, repeated settings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.composition import seconds

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy/systemd"
INSTALLED = "/opt/holdfast"


@dataclass(frozen=True)
class Unit:
    """One unit file; `settings` has every value of `Section.Name`, in their order."""

    name: str
    settings: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Unit:
        settings: dict[str, list[str]] = {}
        section = ""
        for line in path.read_text().replace("\\\n", " ").splitlines():
            if match := re.fullmatch(r"\[(\w+)\]", line):
                section = match[1]
            elif line and line[0] not in "#;":
                name, separator, value = line.partition("=")
                assert separator and section, f"{path.name}: {line}"
                settings.setdefault(f"{section}.{name}", []).append(value)
        return cls(path.name, settings)

    def all(self, name: str) -> list[str]:
        return self.settings.get(name, [])

    def one(self, name: str) -> str:
        [value] = self.settings[name]
        return value

    def command(self, name: str) -> list[str]:
        """Return the words of `Service.Exec…`, without systemd's prefixes; `$$` is a dollar."""
        return [word.replace("$$", "$") for word in shlex.split(self.one(name).lstrip("-@:+!"))]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair for value in self.all("Service.Environment") for pair in shlex.split(value))
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def stop_seconds(self) -> float:
        return seconds(self.one("Service.TimeoutStopSec"))


def read_units() -> dict[str, Unit]:
    """Return every unit by the name of its process: panel, coordinator, worker, migrate."""
    paths = sorted(UNITS.glob("*.service"))
    return {path.stem.removeprefix("holdfast-"): Unit.read(path) for path in paths}

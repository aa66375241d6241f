"""Reads the Dockerfile: its stages, and what a container of its last one runs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Stage:
    """One `FROM` and what follows it, each instruction with its whole text."""

    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [text for found, text in self.instructions if found == word]

    def words(self, word: str) -> list[str]:
        """Return the words of the last such instruction, which must be in the JSON form."""
        words: list[str] = json.loads(self.all(word)[-1])
        return words

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair for text in self.all("ENV") for pair in shlex.split(text))
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def healthcheck(self) -> list[str]:
        words: list[str] = json.loads(self.all("HEALTHCHECK")[-1].partition("CMD")[2])
        return words

    @property
    def packages(self) -> list[str]:
        """The names of the Debian packages that it installs."""
        commands = re.split(r"&&|;", " ".join(self.all("RUN")))
        found = [one.split("install", 1)[1].split() for one in commands if "apt-get install" in one]
        return [word for words in found for word in words if not word.startswith("-")]


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    """Return the stages in their order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for instruction in filter(None, "\n".join(lines).replace("\\\n", " ").splitlines()):
        word, _, text = instruction.strip().partition(" ")
        if word == "FROM":
            image, _, name = text.partition(" AS ")
            stages.append(Stage(image, name))
        else:
            stages[-1].instructions.append((word, text.strip()))
    return stages

"""The schema as TypeScript: what a front end gets from it is the wire contract's status object."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

SOURCE = Path(__file__).parents[1] / "typescript"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its packages installed, as the lock names them."""
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "package-lock.json", ".npmrc", "backup-status.ts"):
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"npm reaches no registry, or the lock is stale: {done.stderr}"
    return folder


@pytest.fixture(scope="module")
def schema(project: Path) -> dict[str, Any]:
    path = project / "schema.json"
    call_command("spectacular", "--format", "openapi-json", "--file", str(path))
    return dict(json.loads(path.read_text()))


def compiled(project: Path, schema: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Turn the schema into types and compile the contract's against them."""
    (project / "schema.json").write_text(json.dumps(schema))
    programs = project / "node_modules" / ".bin"
    argv = [str(programs / "openapi-typescript"), "schema.json", "-o", "schema.d.ts"]
    subprocess.run(argv, cwd=project, check=True, capture_output=True, timeout=120)
    argv = [str(programs / "tsc"), "--noEmit", "--strict", "--skipLibCheck", "backup-status.ts"]
    return subprocess.run(argv, cwd=project, capture_output=True, text=True, timeout=120)


def test_status_object_of_the_schema_is_the_contracts(
    project: Path, schema: dict[str, Any]
) -> None:
    done = compiled(project, schema)
    assert done.returncode == 0, done.stdout


def renamed(status: dict[str, Any]) -> None:
    status["properties"]["state"] = status["properties"].pop("status")
    status["required"] = [name for name in status["required"] if name != "status"] + ["state"]


def retyped(status: dict[str, Any]) -> None:
    status["properties"]["progress"] = {"type": "string"}


def nullable(status: dict[str, Any]) -> None:
    status["properties"]["message"]["nullable"] = True


def optional(status: dict[str, Any]) -> None:
    status["required"].remove("eta_seconds")


def added(status: dict[str, Any]) -> None:
    status["properties"]["more"] = {"type": "string"}
    status["required"].append("more")


@pytest.mark.parametrize("change", [renamed, retyped, nullable, optional, added])
def test_compiler_refuses_a_status_object_that_was(
    change: Callable[[dict[str, Any]], None], project: Path, schema: dict[str, Any]
) -> None:
    other = json.loads(json.dumps(schema))
    change(other["components"]["schemas"]["BackupStatus"])
    done = compiled(project, other)
    assert done.returncode != 0
    assert "backup-status.ts" in done.stdout


def test_lock_names_no_registry() -> None:
    assert '"resolved"' not in (SOURCE / "package-lock.json").read_text()

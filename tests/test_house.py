"""The house rules that no linter knows: sizes, environment, commands, layers, what is tracked."""

from __future__ import annotations

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

from backups import registry
from panel.env import read_environment

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("panel", "backups", "workers")
FILE_LINES, FUNCTION_LINES = 400, 60
MEDIAN_FILE_LINES, P95_FILE_LINES = 120, 320
README_LINES = 150
TOP_LEVEL = {
    *("manage.py", "panel", "backups", "workers", "docker-compose.yml", "tests", "requirements"),
    *("README.md", "Makefile", "pyproject.toml", "LICENSE", ".ci", "docs", ".gitignore"),
    *(
        ".dockerignore",
        ".pre-commit-config.yaml",
        "Dockerfile",
        "docker-compose.node.yml",
        "deploy",
    ),
}
# They set or hand on what others read, and read no setting of Holdfast's.
MAY_TOUCH_ENVIRONMENT = {
    "panel/asgi.py": {"setdefault"},
    "panel/wsgi.py": {"setdefault"},
    "workers/celery.py": {"setdefault"},
    "manage.py": {"setdefault"},
    "workers/engine/process.py": {"inherited"},
}


def _sources() -> list[Path]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in paths if "migrations" not in path.parts)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield f"{_name(path)}:{node.lineno} {node.name}", node.end_lineno - first + 1


def _tracked() -> list[str]:
    """What a commit of now would hold: tracked, and not ignored."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_every_file_is_short_enough_to_be_read() -> None:
    lines = {_name(path): len(path.read_text().splitlines()) for path in _sources()}
    assert [name for name, count in lines.items() if count > FILE_LINES] == []
    counts = sorted(count for count in lines.values() if count > 1)
    median, p95 = statistics.median(counts), counts[int(0.95 * len(counts))]
    print(f"{len(counts)} files: median {median}, p95 {p95}, longest {counts[-1]} lines")
    assert median <= MEDIAN_FILE_LINES
    assert p95 <= P95_FILE_LINES


def test_every_function_is_short_enough_to_be_read() -> None:
    functions = dict(function for path in _sources() for function in _functions(path))
    counts = sorted(functions.values())
    p95 = counts[int(0.95 * len(counts))]
    print(f"{len(counts)} functions: median {statistics.median(counts)}, p95 {p95} lines")
    assert [name for name, count in functions.items() if count > FUNCTION_LINES] == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def _variables_read() -> set[str]:
    """The names in panel/env.py, from its calls such as `env.int("LEASE_SECONDS", 90)`.

    What `env.secret` reads may be in a file, which another variable names.
    """
    calls = _calls_of_the_reader()
    return {f"HOLDFAST_{name}" for name, _ in calls} | {
        f"HOLDFAST_{name}_FILE" for name, kind in calls if kind == "secret"
    }


def _calls_of_the_reader() -> set[tuple[str, str]]:
    tree = ast.parse((ROOT / "panel/env.py").read_bytes())
    return {
        (node.args[0].value, node.func.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and isinstance(node.args[0], ast.Constant)
    }


def _rows_of_the_table() -> dict[str, list[str]]:
    text = (ROOT / "docs/configuration.md").read_text()
    rows = re.findall(r"^\| `(HOLDFAST_\w+)` \|(.*)\|$", text, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a variable is in the table twice"
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def test_every_variable_is_in_the_table_of_the_docs() -> None:
    variables = _variables_read()
    of_others = {"DATABASE_PASSWORD", "BROKER_PASSWORD"}  # they become part of the URLs
    read = {name for name, _ in _calls_of_the_reader()} - of_others
    assert len(read) == len(read_environment().__slots__)
    assert set(_rows_of_the_table()) == variables
    for name, cells in _rows_of_the_table().items():
        assert len(cells) == 3 and all(cells), name


def test_every_number_in_the_table_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _variables_read():
        monkeypatch.delenv(name, raising=False)
    environment = read_environment()
    numbers = {
        name: cells[0].strip("`")
        for name, cells in _rows_of_the_table().items()
        if re.fullmatch(r"`\d+`", cells[0])
    }
    assert len(numbers) >= 5
    for name, default in numbers.items():
        assert str(getattr(environment, name.removeprefix("HOLDFAST_").lower())) == default


def _environment_use(path: Path) -> set[str]:
    """How a file touches the environment, in one word for each use."""
    used = set()
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        reads = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
        imports = isinstance(node, ast.ImportFrom) and node.module == "os"
        if reads or (imports and {"environ", "getenv"} & {name.name for name in node.names}):
            line = text.splitlines()[node.lineno - 1]
            known = [word for word in ("setdefault", "inherited") if word in line]
            used.add(known[0] if known else line.strip())
    return used


def test_only_one_module_reads_the_environment() -> None:
    used = {_name(path): use for path in [*_sources(), ROOT / "manage.py"]
            if (use := _environment_use(path))}  # fmt: skip
    assert used.pop("panel/env.py")
    assert used == MAY_TOUCH_ENVIRONMENT


def test_every_command_has_a_test() -> None:
    ours = {name for name, app in get_commands().items() if app in ("backups", "workers")}
    ours |= {name for name, app in get_commands().items() if app.startswith("panel")}
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert {"demo", "worker", "coordinator", "backup", "bundle"} <= ours
    run = r"""(?:manage|call_command)\(\s*["']{0}["']|manage\.py["'],\s*["']{0}["']"""
    mentioned = {name for name in ours if re.search(run.format(name), tests)}
    assert sorted(ours - mentioned) == []


def test_everything_in_the_registry_loads() -> None:
    paths = [stage.path for stage in registry.STAGES.values()]
    paths += [
        registry.STORE_OPENER,
        registry.STORE_FIELDS,
        registry.BUNDLE_RECORD,
        registry.RECIPIENTS_CHECK,
        *registry.QUERIES.values(),
    ]
    for path in paths:
        module, _, name = path.partition(":")
        assert callable(getattr(import_module(module), name)), path
    used = {name for stages in registry.PIPELINES.values() for name in stages}
    assert used == set(registry.STAGES)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_requirements_are_locked_by_hash_and_name_no_index(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|--index-url|--extra-index-url|--find-links|-f ", _body(text))
    assert path.with_suffix(".in").is_file()
    blocks = re.findall(r"^[A-Za-z0-9].*(?:\n    .*)*", text, re.MULTILINE)
    assert blocks
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ ", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]


def _body(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def test_every_direct_requirement_is_locked() -> None:
    for path in (ROOT / "requirements").glob("*.in"):
        locked = path.with_suffix(".txt").read_text()
        wanted = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", path.read_text(), re.MULTILINE)
        missing = [name for name in wanted if not re.search(rf"^{re.escape(name)}==", locked, re.M)]
        assert missing == [], path.name


# Imports everything that an installation of base.txt runs, with whatever else is installed here for
# the tests hidden, as if it were not there.
BASE_ONLY = """
import importlib, pkgutil, re, sys
from importlib.metadata import packages_distributions

def plain(name):
    return re.sub("[-_.]+", "-", name).lower()

locked = set(re.findall("^([a-z0-9-]+)", open("requirements/base.txt").read(), re.M))
hidden = {top for top, names in packages_distributions().items()
          if not locked & set(map(plain, names))}

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError("No module named " + name, name=name)

assert {"pytest", "mypy", "psycopg"} <= hidden
sys.meta_path.insert(0, Hide())
import django
django.setup()
import panel, backups, workers
for package in (panel, backups, workers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
import boto3, kombu.transport.redis, uvicorn
uvicorn.Config("panel.asgi:application").load()
boto3.client("s3", region_name="x", aws_access_key_id="x", aws_secret_access_key="x")
"""


def test_everything_runs_with_base_requirements_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BASE_ONLY],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "panel.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_top_level_holds_only_what_belongs_there() -> None:
    assert {name.partition("/")[0] for name in _tracked()} <= TOP_LEVEL


def test_nothing_tracked_names_somebodys_machine() -> None:
    # A home, not a made-up one such as those in tests of paths: two parts, and no placeholder.
    home = re.compile(
        rb"/(?:home|Users)/(?!user\b|example|someone|www|me\b|you\b)[a-z]\w*/|/root/\."
    )
    found = [name for name in _tracked() if home.search((ROOT / name).read_bytes())]
    assert [name for name in found if name != _name(Path(__file__))] == []


def test_the_hooks_of_pre_commit_are_valid_and_their_programs_installed() -> None:
    script = Path(sys.executable).with_name("pre-commit")
    done = subprocess.run(
        [str(script), "validate-config"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for hook in config["repos"][0]["hooks"]:
        program = re.findall(r"\.venv/bin/(\S+)", hook["entry"])
        assert len(program) == 1, hook["id"]
        assert Path(sys.executable).with_name(program[0]).is_file(), hook["id"]


def test_no_migration_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"],
        cwd=ROOT,
        env={**os.environ, "HOLDFAST_DATABASE_URL": "sqlite://:memory:"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("lint-imports")
    argv = [str(script), "--no-cache", "--config", "pyproject.toml"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)


def _copy(target: Path) -> Path:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, target / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


# The file that is changed, the import that must not be, and the contract that says so.
VIOLATIONS = {
    "engine-django": ("workers/engine/errors.py", "import django.db", "engine and stages know"),
    "stages-domain": ("workers/stages/context.py", "import backups.states", "engine and stages"),
    "domain-workers": ("backups/states.py", "import workers.engine.errors", "the domain never"),
    "panel-workers": ("panel/urls.py", "import workers.runner", "the panel reaches"),
    "models-actions": ("backups/states.py", "import backups.actions", "backups layers"),
    "second-spawner": ("backups/registry.py", "import subprocess", "one module spawns"),
    "engine-runner": ("workers/engine/errors.py", "import workers.runner", "workers layers"),
    "embedded-django": ("workers/embedded/demo.py", "import django.db", "the embedded cluster"),
}


@pytest.mark.slow
def test_the_layers_hold_and_each_planted_violation_is_caught(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    clean = _lint_imports(folder)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    for name, (path, line, contract) in VIOLATIONS.items():
        original = (folder / path).read_text()
        (folder / path).write_text(f"{original}\n{line}\n")
        done = _lint_imports(folder)
        (folder / path).write_text(original)
        broken = re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE)
        assert done.returncode != 0, name
        assert any(found.startswith(contract) for found in broken), (name, done.stdout)

"""The Dockerfile, as far as it can be held to its promises without an engine."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT, read_dockerfile

STAGES = read_dockerfile()
BUILD, FINAL = STAGES
BUILD_TOOLS = ("gcc", "g++", "make", "build-essential", "pkg-config", "-dev", "git", "curl")


def is_left_out(path: str) -> bool:
    """Whether .dockerignore keeps the path out of the build; the last line that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            kept = pattern.startswith("!")
            pattern = pattern.removeprefix("!").rstrip("/")
            if _matches(path, pattern):
                out = not kept
    return out


def _matches(path: str, pattern: str) -> bool:
    """Whether the pattern names the path or a folder above it; a star names no slash."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in parts)
    return any(
        fnmatch.fnmatch(one, pattern) and one.count("/") == pattern.count("/") for one in above
    )


def tracked() -> list[str]:
    argv = ["git", "ls-files", "-z"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name]


def policy(package: str) -> str:
    return subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True).stdout


def test_hadolint_finds_nothing() -> None:
    script = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(script), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_pinned_and_the_same_in_every_stage() -> None:
    # What is compiled in the first stage must fit the second one's libraries.
    assert BUILD.image == FINAL.image
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", FINAL.image)


def test_everything_that_is_copied_is_there_and_let_in() -> None:
    sources = [word for text in BUILD.all("COPY") for word in text.split()[:-1]]
    assert sources
    for source in sources:
        files = [name for name in tracked() if name == source or name.startswith(f"{source}/")]
        assert files, f"{source} is not there"
        assert [name for name in files if is_left_out(name)] == []


def test_the_application_is_all_there() -> None:
    copied = {word for text in BUILD.all("COPY") for word in text.split()[:-1]}
    packages = {name.split("/")[0] for name in tracked() if re.fullmatch(r"\w+/__init__.py", name)}
    assert packages - {"tests"} | {"manage.py"} <= copied


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", "secrets/secret_key", "holdfast.sqlite3", ".venv/bin/python",
     "tests/conftest.py", "panel/__pycache__/env.cpython-313.pyc", ".spool/x", "deploy/redis.conf"],
)  # fmt: skip
def test_nothing_else_gets_into_the_build(path: str) -> None:
    assert is_left_out(path)


def test_the_final_stage_has_no_build_tools_and_only_takes_what_was_built() -> None:
    assert FINAL.packages
    assert [one for one in FINAL.packages if one.endswith(BUILD_TOOLS)] == []
    assert all(text.startswith("--from=build ") for text in FINAL.all("COPY"))


@pytest.mark.parametrize("package", sorted({*BUILD.packages, *FINAL.packages}))
def test_every_package_is_one_of_the_releases(package: str) -> None:
    """Asked of this host's Debian or Ubuntu, whichever release it is."""
    if not shutil.which("apt-cache") or "://" not in policy("coreutils"):
        pytest.skip("only a Debian or Ubuntu with its lists of packages knows")
    assert re.search(r"Candidate: \d", policy(package))


def test_the_container_runs_as_a_numbered_user_that_owns_its_volumes() -> None:
    user, _, group = FINAL.all("USER")[-1].partition(":")
    assert user.isdigit() and int(user) > 999 and group == user
    made = " ".join(FINAL.all("RUN"))
    assert f"--uid {user}" in made and f"--gid {group}" in made
    owned = made.split("install -d -o holdfast -g holdfast -m 0700 ")[1].split()
    assert {"/etc/holdfast", "/var/lib/holdfast/spool", "/var/lib/holdfast/bundles"} <= set(owned)


def test_the_first_process_reaps_and_hands_signals_to_the_command_alone() -> None:
    # `tini -g` would signal the whole group: every dump in mid-stage would end with it.
    assert FINAL.words("ENTRYPOINT") == ["tini", "--"]
    assert "tini" in FINAL.packages


def test_nothing_runs_through_a_shell_that_would_keep_signals_to_itself() -> None:
    assert FINAL.words("CMD")[0] == "uvicorn"
    assert {"--no-proxy-headers", "--no-access-log"} <= set(FINAL.words("CMD"))
    assert FINAL.healthcheck[0] == "python"


def test_the_locked_requirements_are_all_that_is_installed() -> None:
    [installed] = [text for text in BUILD.all("RUN") if "pip" in text]
    assert "--require-hashes" in installed and "--no-deps" in installed
    for name in ("base", "mysql", "postgresql"):
        assert f"-r /requirements/{name}.txt" in installed

"""Generated settings files: where we hold a value for certain, PHP itself has the same one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.engine.php.agreement import Php, disagreements, evaluate
from tests.workers.engine.php.scripts import ENVIRONMENT, HEADER, Writer
from workers.engine.php.state import Binding
from workers.engine.php.values import Unknown

# Variables of variables and objects in strings: known to be unknown.
NOT_FOLLOWED = re.compile(r"\$\{(?!\w+\})|\$\w+->\w")
SEEDS = st.integers(0, 2**64)
MANY = settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def php(tmp_path: Path) -> Iterator[Php]:
    with Php(tmp_path, ENVIRONMENT) as oracle:
        yield oracle


@pytest.mark.slow
@MANY
@given(seed=SEEDS)
def test_we_agree_with_php_when_settings_are_generated(php: Php, tmp_path: Path, seed: int):
    script = Writer(seed).script()
    path = tmp_path / "config.php"
    path.write_text(script, encoding="utf-8", newline="")
    theirs = php.define(path)
    if theirs["failed"]:
        return
    wrong = disagreements(evaluate(path, ENVIRONMENT), theirs)
    assert not wrong, f"{wrong}\n{script}"


@pytest.mark.slow
@MANY
@given(seed=SEEDS)
def test_every_string_is_known_and_phps_when_php_accepts_it(php: Php, tmp_path: Path, seed: int):
    written = Writer(seed).string()
    script = f"{HEADER}define('V', {written});"
    path = tmp_path / "config.php"
    path.write_text(script, encoding="utf-8", newline="")
    theirs = php.define(path)
    if theirs["failed"]:
        return
    evaluation = evaluate(path)
    wrong = disagreements(evaluation, theirs)
    assert not wrong, f"{wrong}\n{script}"
    value = evaluation.constants["V"].value
    if isinstance(value, Unknown) and not NOT_FOLLOWED.search(written):
        assert value.reason.endswith("is not set"), f"{value}\n{script}"


def test_the_comparison_finds_a_wrong_value_when_there_is_one(php: Php, tmp_path: Path):
    path = tmp_path / "config.php"
    path.write_text("<?php define('A', 'x'); $b = 1;")
    theirs = php.define(path)
    evaluation = evaluate(path)
    assert not disagreements(evaluation, theirs)
    evaluation.constants["A"] = Binding("y")
    evaluation.constants["C"] = Binding("z")
    del evaluation.variables["b"]
    assert len(disagreements(evaluation, theirs)) == 3

"""Compares what we make of a settings file with what PHP itself makes of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from workers.engine.php.files import SiteFiles
from workers.engine.php.interpreter import Evaluation, evaluate_file
from workers.engine.php.state import Binding
from workers.engine.php.values import ABSENT, Absent, Unknown

# For each file named on standard input: a line of JSON with the constants and variables that PHP
# has after it. Each file runs in a process of its own, since constants stay.
_RUNNER = r"""<?php
while (($__file = fgets(STDIN)) !== false) {
    $__file = trim($__file);
    $__pid = pcntl_fork();
    if ($__pid) { pcntl_waitpid($__pid, $__status); continue; }
    error_reporting(0);
    set_time_limit(2);
    ob_start();
    register_shutdown_function(function () {
        ob_end_clean();
        $seen = ['constants' => get_defined_constants(true)['user'] ?? [], 'variables' => []];
        foreach ($GLOBALS as $name => $value) {
            if ($name[0] !== '_' && !in_array($name, ['argv', 'argc'])) {
                $seen['variables'][$name] = $value;
            }
        }
        $failed = error_get_last();
        $seen['failed'] = $failed && in_array($failed['type'], [E_ERROR, E_PARSE, E_COMPILE_ERROR])
            ? $failed['message'] : (isset($GLOBALS['__ended']) ? null : 'ended early');
        fwrite(STDOUT, json_encode($seen, JSON_PARTIAL_OUTPUT_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION
            | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_IGNORE) . "\n");
    });
    require $__file;
    $__ended = true;
    exit;
}
"""


class Php:
    """A real PHP that says what settings files define. A context manager."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        runner = directory / "runner.php"
        runner.write_text(_RUNNER)
        self._popen = subprocess.Popen(
            ["php", "-d", "variables_order=EGPCS", str(runner)],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def define(self, path: Path) -> dict:
        """Return `constants` and `variables` after the file; `failed` says why there are none."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(f"{path}\n".encode())
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())

    def __enter__(self) -> Php:
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(10)


def evaluate(path: Path, environment: Mapping[str, str] | None = None) -> Evaluation:
    """Return what we make of the file, its folder being the site."""
    files = SiteFiles((path.parent.resolve(),), path.stat().st_uid, environment)
    return evaluate_file(path.resolve(), files=files)


def disagreements(evaluation: Evaluation, php: dict) -> list[str]:
    """Return every value that we hold without a note and that PHP does not have."""
    found: list[str] = []
    for kind, ours in (("constants", evaluation.constants), ("variables", evaluation.variables)):
        theirs = php[kind] or {}
        for name in {**ours, **theirs}:
            if "[" not in name:
                found += _compare(name, ours.get(name, _NOTHING), theirs, evaluation)
    return found


_NOTHING = Binding(ABSENT)


def _compare(
    name: str, ours: Binding, theirs: Mapping[str, object], evaluation: Evaluation
) -> list[str]:
    if not _is_known(ours.value) or ours.notes:
        return []
    if isinstance(ours.value, Absent):
        # `global $x` makes a variable that is null, which for every question is one not set.
        wrong = theirs.get(name) is not None and not evaluation.caution
    else:
        wrong = name not in theirs or not _equal(plain(ours.value), theirs[name])
    return [f"{name}: ours {ours}, PHP's {theirs.get(name, 'not there')!r}"] if wrong else []


def _is_known(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_known(element) for element in value.values())
    return not isinstance(value, Unknown)


def _equal(ours: object, theirs: object) -> bool:
    return ours == theirs and type(ours) is type(theirs)


def plain(value: object) -> object:
    """Return a value as PHP's json_encode would write it."""
    if isinstance(value, dict):
        if list(value) == list(range(len(value))):
            return [plain(element) for element in value.values()]
        return {str(key): plain(element) for key, element in value.items()}
    return value

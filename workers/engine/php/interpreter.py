"""Runs a settings file as far as it can be known, and returns what it defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.php.builtins import Builtins
from workers.engine.php.evaluator import Signal, TooMuchWork
from workers.engine.php.files import SiteFiles, decode
from workers.engine.php.literals import PhpSyntaxError
from workers.engine.php.state import Binding, Notes, State
from workers.engine.php.statements import parse
from workers.engine.php.syntax import (
    Block,
    Call,
    ConstantDeclaration,
    ExpressionStatement,
    Foreach,
    Function,
    Global,
    If,
    Include,
    Leave,
    NotUnderstood,
    Repeat,
    Return,
    Statement,
    Switch,
    Try,
    Unset,
)
from workers.engine.php.values import Absent, Unknown, Value, loosely_equal, text, truth

_MAX_CALL_DEPTH = 12
_MAX_INCLUDES = 40


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a script defined.

    `problems` says why nothing after some point could be read, `caution` what else may have set
    what is missing here; `encodings` holds the encoding of each file that was read.
    """

    constants: Mapping[str, Binding]
    variables: Mapping[str, Binding]
    problems: tuple[str, ...]
    caution: Notes
    encodings: Mapping[str, str]


def evaluate_file(
    path: Path,
    *,
    files: SiteFiles,
    constants: Mapping[str, Value] | None = None,
    stop_at: str = "wp-settings.php",
) -> Evaluation:
    """Evaluate the PHP file at `path` up to where it includes a file named `stop_at`.

    `constants` are defined before it starts. Environment variables are those of `files`; where it
    has None, a variable counts as not set and what comes of that is noted. Never raises for what
    the file holds: see `Evaluation.problems`.
    """
    state = State()
    for name, value in (constants or {}).items():
        state.define(name, Binding(value))
    interpreter = Interpreter(state, files, stop_at)
    interpreter.run_file(path)
    state = interpreter.state
    return Evaluation(
        state.constants,
        state.variables,
        tuple(interpreter.problems),
        state.caution,
        interpreter.encodings,
    )


class Interpreter(Builtins):
    """Walks statements; see `Evaluator` for what it does where a condition is not known."""

    def __init__(self, state: State, files: SiteFiles, stop_at: str) -> None:
        super().__init__(state, files)
        self.problems: list[str] = []
        self.encodings: dict[str, str] = {}
        self._stop_at = stop_at
        self._includes = 0
        self._statement_rules: dict[type[Statement], Callable[[Any], None]] = {
            ExpressionStatement: self._expression,
            Block: self._block,
            If: self._if,
            Repeat: self._repeat,
            Foreach: self._foreach,
            Switch: self._switch,
            Try: self._try,
            Function: self._declare,
            ConstantDeclaration: self._const,
            Return: self._return,
            Leave: self._leave,
            Global: self._global,
            Unset: self._unset,
            NotUnderstood: self._not_understood,
        }

    def run_file(self, path: Path) -> None:
        """Run the main file; what stops it short becomes a problem."""
        try:
            opened = self.files.read(str(path))
            if isinstance(opened, Unknown):
                self.problems.append(opened.reason)
                return
            self._run(*opened)
        except Signal:
            return
        except PhpSyntaxError as error:
            self.problems.append(f"line {error.line} is not understood: {error.message}")
        except TooMuchWork:
            self.problems.append("the file does more than can be followed")
        except RecursionError:
            self.problems.append("the file is nested too deeply to be followed")

    def _run(self, path: Path, content: bytes) -> None:
        source, encoding = decode(content)
        self.encodings[str(path)] = encoding
        outer, self.file = self.file, str(path)
        try:
            self.run(parse(source, encoding=encoding))
        finally:
            self.file = outer

    def run(self, statements: Sequence[Statement]) -> None:
        """Run statements in turn; functions are known before the first one, as in PHP."""
        for statement in statements:
            if isinstance(statement, Function):
                self._declare(statement)
        for statement in statements:
            self._statement_rules[type(statement)](statement)

    def _one(self, statement: Statement | None) -> None:
        if statement is not None:
            self.run((statement,))

    def _expression(self, statement: ExpressionStatement) -> None:
        with self.collect():
            self.evaluate(statement.expression)

    def _block(self, statement: Block) -> None:
        self.run(statement.statements)

    def _if(self, statement: If) -> None:
        with self.collect() as notes:
            condition = truth(self.evaluate(statement.condition))
        self.choose(
            condition,
            notes,
            lambda: self._one(statement.yes),
            lambda: self._one(statement.no),
            statement.line,
        )

    def _maybe(self, statement: Statement, reason: str) -> None:
        """Run what may not run at all."""

        def run() -> None:
            try:
                self._one(statement)
            except Signal as signal:
                if signal.kind not in ("break", "continue"):
                    raise

        self.choose(Unknown(reason), set(), run, lambda: None, statement.line)

    def _repeat(self, statement: Repeat) -> None:
        # Twice: what the first round leaves unknown may lead the second one elsewhere.
        for _round in range(2):
            for condition in statement.conditions:
                self.evaluate(condition)
            self._maybe(statement.body, "it stands in a loop")

    def _foreach(self, statement: Foreach) -> None:
        with self.collect() as notes:
            subject = self.evaluate(statement.subject)
        if not isinstance(subject, dict) or len(subject) > 1000:
            reason = Unknown("it stands in a loop over what is not known")
            if statement.key is not None:
                self.assign(statement.key, reason, notes)
            self.assign(statement.value, reason, notes)
            self._maybe(statement.body, reason.reason)
            self._maybe(statement.body, reason.reason)
            return
        for key, value in subject.items():
            if statement.key is not None:
                self.assign(statement.key, key, notes)
            self.assign(statement.value, value, notes)
            try:
                self._one(statement.body)
            except Signal as signal:
                if signal.kind not in ("break", "continue"):
                    raise
                if signal.levels > 1:
                    raise Signal(signal.kind, levels=signal.levels - 1) from None
                if signal.kind == "break":
                    break

    def _switch(self, statement: Switch) -> None:
        with self.collect() as notes:
            subject = self.evaluate(statement.subject)
            # The default is taken when no case fits, wherever it stands.
            order = [case for case in statement.cases if case.test is not None]
            order += [case for case in statement.cases if case.test is None]
            tests: list[bool | Unknown] = [
                True if case.test is None else loosely_equal(subject, self.evaluate(case.test))
                for case in order
            ]

        def attempt(index: int) -> None:
            if index == len(order):
                return
            start = statement.cases.index(order[index])
            self.choose(
                tests[index],
                notes,
                lambda: self._from_case(statement, start),
                lambda: attempt(index + 1),
                statement.line,
            )

        attempt(0)

    def _from_case(self, statement: Switch, start: int) -> None:
        try:
            for case in statement.cases[start:]:
                self.run(case.statements)
        except Signal as signal:
            if signal.kind not in ("break", "continue"):
                raise
            if signal.levels > 1:
                raise Signal(signal.kind, levels=signal.levels - 1) from None

    def _try(self, statement: Try) -> None:
        if statement.catches:
            self._maybe(statement.body, "it stands where an error may end it")
        else:
            self._one(statement.body)
        for caught in statement.catches:
            self._maybe(caught, "it stands where an error is caught")
        self._one(statement.last)

    def _declare(self, statement: Function) -> None:
        self.state.functions.setdefault(statement.name, statement)

    def _const(self, statement: ConstantDeclaration) -> None:
        with self.collect() as notes:
            value = self.evaluate(statement.value)
        self.define(statement.name, value, notes, statement.line)

    def _return(self, statement: Return) -> None:
        raise Signal("return", None if statement.value is None else self.evaluate(statement.value))

    def _leave(self, statement: Leave) -> None:
        raise Signal(statement.keyword, levels=statement.levels)

    def _global(self, statement: Global) -> None:
        for name in statement.names if self.call_depth else ():
            self.globals_used.add(name)
            if (binding := self.global_variables.get(name)) is not None:
                self.state.variables[name] = binding

    def _unset(self, statement: Unset) -> None:
        for target in statement.targets:
            self.remove(target)

    def _not_understood(self, statement: NotUnderstood) -> None:
        self.caution(f"line {statement.line} is not understood ({statement.message})")

    def call_declared(self, function: Function, node: Call) -> Value:
        """Run a function that the site's own files declare, with variables of its own."""
        arguments = [self.evaluate(argument) for argument in node.arguments]
        if self.call_depth >= _MAX_CALL_DEPTH or not all(
            parameter.is_plain for parameter in function.parameters
        ):
            for argument in node.arguments:
                self.forget(argument)
            self.caution(f"line {node.line} calls {node.name}(), which is not followed")
            return Unknown(f"line {node.line} calls {node.name}(), which is not followed")
        early = self.state.early
        with self.own_variables():
            for position, parameter in enumerate(function.parameters):
                if position < len(arguments):
                    value = arguments[position]
                elif parameter.default is not None:
                    value = self.evaluate(parameter.default)
                else:
                    value = Unknown(f"${parameter.name} is not handed over")
                self.state.assign(parameter.name, Binding(value, frozenset(self.notes)))
            try:
                self._one(function.body)
            except Signal as signal:
                if signal.kind != "return":
                    raise
                self.notes |= self.state.early
                return signal.value
            finally:
                self.state.early = early
        return None

    def include(self, node: Include) -> Value:
        """Run another file of the site, or note that it could not be."""
        path = text(self.evaluate(node.path))
        if isinstance(path, Unknown):
            return self._not_included(node, f"a file whose path is not known: {path.reason}")
        if path.rpartition("/")[2] == self._stop_at:
            raise Signal("stop")
        opened = self._open_include(path)
        if isinstance(opened, Unknown):
            return self._not_included(node, opened.reason)
        resolved, content = opened
        if node.keyword.endswith("_once") and str(resolved) in self.encodings:
            return True
        self._includes += 1
        if self._includes > _MAX_INCLUDES:
            raise TooMuchWork
        try:
            self._run(resolved, content)
        except PhpSyntaxError as error:
            return self._not_included(node, f"{resolved.name}, line {error.line}: {error.message}")
        except Signal as signal:
            if signal.kind != "return":
                raise
            return signal.value
        return 1

    def _open_include(self, path: str) -> tuple[Path, bytes] | Unknown:
        if path.startswith("/"):
            return self.files.read(path)
        # A relative path is looked for in the working folder, which for a request is the site's,
        # then beside the file that includes it.
        folders = [self.constant("ABSPATH"), self.constant("__DIR__")]
        opened: tuple[Path, bytes] | Unknown = Unknown(f"{path} is not found")
        for folder in folders:
            if isinstance(folder, Absent) or not isinstance(folder, str):
                continue
            opened = self.files.read(f"{folder.rstrip('/')}/{path}")
            if not isinstance(opened, Unknown):
                return opened
        return opened

    def _not_included(self, node: Include, reason: str) -> Value:
        self.caution(f"line {node.line} includes what could not be read ({reason})")
        return Unknown(f"line {node.line} includes what could not be read ({reason})")

"""Evaluates expressions. What the result hangs on but is not sure is gathered in `notes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workers.engine.php.arithmetic import cast, operate
from workers.engine.php.lookup import SUPERGLOBALS, Lookup
from workers.engine.php.state import Binding, State, merge
from workers.engine.php.syntax import (
    ArrayLiteral,
    Assign,
    Binary,
    Call,
    Constant,
    Empty,
    Exit,
    Expression,
    Include,
    Index,
    Isset,
    Literal,
    Opaque,
    Template,
    Ternary,
    Unary,
    Variable,
)
from workers.engine.php.values import (
    MAX_STRING,
    Absent,
    PhpArray,
    Unknown,
    Value,
    key_of,
    same,
    text,
    truth,
)

MAX_STEPS = 100_000


class TooMuchWork(Exception):
    """The script does more than settings need."""


class Signal(Exception):
    """Control leaves where it is: kind is "exit", "stop", "return", "break" or "continue".

    "stop" is where WordPress itself is loaded: what follows comes too late to set anything.
    """

    def __init__(self, kind: str, value: Value = None, levels: int = 1) -> None:
        super().__init__(kind)
        self.kind = kind
        self.value = value
        self.levels = levels


class Evaluator(Lookup):
    """Gives the value of every kind of expression, in the `state` that it has and changes."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.steps = 0
        self.call_depth = 0
        self._rules: dict[type[Expression], Callable[[Any], Value]] = {
            Literal: lambda node: node.value,
            Template: self._template,
            Variable: self._required,
            Index: self._required,
            Constant: self._required,
            ArrayLiteral: self._array,
            Unary: self._unary,
            Binary: self._binary,
            Ternary: self._ternary,
            Assign: self._assign,
            Call: self.call,
            Isset: self._isset,
            Empty: self._empty,
            Include: self.include,
            Exit: self._exit,
            Opaque: self._opaque,
        }

    def evaluate(self, node: Expression) -> Value:
        """Return the value of an expression, or `Unknown`; raises `Signal` where it leaves."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooMuchWork
        value = self._rules[type(node)](node)
        if isinstance(value, str) and len(value) > MAX_STRING:
            return Unknown(f"the text in line {node.line} grows too long")
        return value

    def call(self, node: Call) -> Value:
        """Evaluate a function's call; in the interpreter."""
        raise NotImplementedError

    def include(self, node: Include) -> Value:
        """Evaluate an include; in the interpreter."""
        raise NotImplementedError

    @contextmanager
    def collect(self) -> Iterator[set[str]]:
        """Gather the notes of what is evaluated inside; they count outside as well."""
        outer = self.notes
        self.notes = set()
        try:
            yield self.notes
        finally:
            outer |= self.notes
            self.notes = outer

    def caution(self, note: str) -> None:
        """Let everything that may have been set by what was passed over carry `note`."""
        self.state.doubt({note})

    def choose(
        self,
        condition: bool | Unknown,
        notes: set[str],
        yes: Callable[[], Value],
        no: Callable[[], Value],
        line: int,
    ) -> Value:
        """Go the way that `condition` says; both ways where it is not known or only assumed."""
        if not isinstance(condition, Unknown) and not notes:
            return yes() if condition else no()
        self.steps += len(self.state.constants) + len(self.state.variables)
        before = self.state.copy()
        taken, other = (no, yes) if condition is False else (yes, no)
        first_value, first_signal = self._branch(taken)
        first_state, self.state = self.state, before
        second_value, second_signal = self._branch(other)
        if not isinstance(condition, Unknown):
            self.notes |= notes
            self.state = merge(
                first_state, self.state, reason="", preferred=True, notes=frozenset(notes)
            )
            if first_signal or second_signal:
                self._leave_early(first_signal or second_signal, notes)
            if first_signal:
                raise first_signal
            return first_value
        reason = f"it depends on a condition in line {line} ({condition.reason})"
        self._rejoin(first_state, first_signal, second_signal, reason)
        return first_value if same(first_value, second_value) else Unknown(reason)

    def _leave_early(self, signal: Signal | None, notes: set[str]) -> None:
        if signal and signal.kind == "return" and self.call_depth:
            self.state.early |= notes
        else:
            self.state.caution |= notes

    def _branch(self, way: Callable[[], Value]) -> tuple[Value, Signal | None]:
        try:
            return way(), None
        except Signal as signal:
            return None, signal

    def _rejoin(
        self, first_state: State, first: Signal | None, second: Signal | None, reason: str
    ) -> None:
        """Bring two ways together of which either may be the real one, and may have left."""
        second_state = self.state
        kinds = (first.kind if first else "", second.kind if second else "")
        if kinds[0] == "exit" and second is None:
            return
        if kinds[1] == "exit":
            self.state = first_state
            if first:
                raise first
            return
        if kinds[0] == "exit":
            assert second
            raise second
        self.state = merge(first_state, second_state, reason=reason, preferred=False)
        if not first and not second:
            return
        if "return" in kinds and self.call_depth:
            raise Signal("return", Unknown(reason))
        if kinds[0] == kinds[1]:
            assert first
            raise first
        self.state.caution |= {f"{reason}, where the script may end early"}

    def _required(self, node: Variable | Index | Constant) -> Value:
        found = self.lookup(node)
        if isinstance(found, Absent):
            return Unknown(f"{self.describe(node)} is not set")
        return found

    def _template(self, node: Template) -> Value:
        collected: list[str] = []
        for part in node.parts:
            value = part if isinstance(part, str) else text(self.evaluate(part))
            if isinstance(value, Unknown):
                return value
            collected.append(value)
        return "".join(collected)

    def _array(self, node: ArrayLiteral) -> Value:
        result: PhpArray = {}
        position = 0
        for item in node.items:
            key = key_of(position if item.key is None else self.evaluate(item.key))
            value = None if item.value is None else self.evaluate(item.value)
            if isinstance(key, Unknown):
                return key
            result[key] = value
            if isinstance(key, int):
                position = max(position, key + 1)
        return result

    def _unary(self, node: Unary) -> Value:
        return cast(node.operator, self.evaluate(node.operand))

    def _binary(self, node: Binary) -> Value:
        operator = node.operator
        if operator == "??":
            return self._coalesce(node)
        if operator in ("&&", "and", "||", "or"):
            return self._logical(node, stops_at=operator in ("||", "or"))
        left = self.evaluate(node.left)
        return operate(operator, left, self.evaluate(node.right))

    def _logical(self, node: Binary, *, stops_at: bool) -> Value:
        with self.collect() as notes:
            left = truth(self.evaluate(node.left))

        def right() -> Value:
            return truth(self.evaluate(node.right))

        def shortcut() -> Value:
            return stops_at

        yes, no = (shortcut, right) if stops_at else (right, shortcut)
        return self.choose(left, notes, yes, no, node.line)

    def _coalesce(self, node: Binary) -> Value:
        with self.collect() as notes:
            left = self.lookup(node.left)
        if isinstance(left, Unknown):
            self.choose(left, notes, lambda: None, lambda: self.evaluate(node.right), node.line)
            return left
        is_set = not isinstance(left, Absent) and left is not None
        value: Value = None if isinstance(left, Absent) else left
        return self.choose(
            is_set, notes, lambda: value, lambda: self.evaluate(node.right), node.line
        )

    def _ternary(self, node: Ternary) -> Value:
        yes = node.yes
        with self.collect() as notes:
            value = self.evaluate(node.condition)
        return self.choose(
            truth(value),
            notes,
            lambda: value if yes is None else self.evaluate(yes),
            lambda: self.evaluate(node.no),
            node.line,
        )

    def _isset(self, node: Isset) -> Value:
        result: bool | Unknown = True
        for target in node.targets:
            found = self.lookup(target)
            if isinstance(found, Unknown):
                result = found
            elif isinstance(found, Absent) or found is None:
                return False
        return result

    def _empty(self, node: Empty) -> Value:
        found = self.lookup(node.target)
        condition = False if isinstance(found, Absent) else truth(found)
        return condition if isinstance(condition, Unknown) else not condition

    def _exit(self, node: Exit) -> Value:
        raise Signal("exit")

    def _opaque(self, node: Opaque) -> Value:
        for part in node.parts:
            self.evaluate(part)
            self.forget(part)
        if node.calls:
            self.caution(f"line {node.line} runs {node.description}, which is not followed")
        return Unknown(f"line {node.line} uses {node.description}, which is not followed")

    def forget(self, target: Expression) -> None:
        """Make a variable unknown that was handed to code which may change it."""
        while isinstance(target, Index):
            target = target.base
        if isinstance(target, Variable) and target.name not in SUPERGLOBALS:
            reason = f"${target.name} is handed over in line {target.line} to what is not followed"
            self.state.assign(target.name, Binding(Unknown(reason), line=target.line))

    def _assign(self, node: Assign) -> Value:
        if node.operator == "??":
            return self._assign_default(node)
        with self.collect() as notes:
            value = self.evaluate(node.value)
            if node.operator:
                value = operate(node.operator, self.evaluate(node.target), value)
        self.assign(node.target, value, notes)
        return value

    def _assign_default(self, node: Assign) -> Value:
        with self.collect() as notes:
            found = self.lookup(node.target)
        condition = found if isinstance(found, Unknown) else not isinstance(found, Absent | None)

        def fill() -> Value:
            with self.collect() as inner:
                value = self.evaluate(node.value)
            self.assign(node.target, value, inner)
            return value

        kept: Value = None if isinstance(found, Absent) else found
        return self.choose(condition, notes, lambda: kept, fill, node.line)

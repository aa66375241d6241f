"""What a script has defined so far, and how two ways through it are brought together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from workers.engine.php.syntax import Function
from workers.engine.php.values import ABSENT, Absent, Unknown, Value, same

Notes = frozenset[str]
NO_NOTES: Notes = frozenset()


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name stands for. `notes` say what was assumed on the way to that value."""

    value: Value | Absent
    notes: Notes = NO_NOTES
    line: int = 0
    file: str = ""


_NOTHING = Binding(ABSENT)
Names = dict[str, Binding]


@dataclass(slots=True)
class State:
    """Constants, variables and functions.

    `caution` goes onto everything that is set from now on: code was passed over that could have
    set it before, or could have ended the script. `early` does the same to the end of the function
    at work, which may have returned before.
    Elements of the superglobals and changes of the environment are variables named `_SERVER[x]`,
    `_ENV[x]` and `getenv[x]`.
    """

    constants: Names = field(default_factory=dict)
    variables: Names = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    caution: Notes = NO_NOTES
    early: Notes = NO_NOTES

    def copy(self) -> State:
        """Return a state that can go its own way."""
        return State(
            dict(self.constants),
            dict(self.variables),
            dict(self.functions),
            self.caution,
            self.early,
        )

    def doubt(self, notes: Iterable[str]) -> None:
        """Note what may have set anything: what is set from now on, and variables set before."""
        added = frozenset(notes)
        self.caution |= added
        self.variables = doubted(self.variables, added)

    def define(self, name: str, binding: Binding) -> None:
        """Define a constant: the first definition holds, as in PHP."""
        before = self.constants.get(name, _NOTHING)
        notes = binding.notes | before.notes | self.caution | self.early
        if isinstance(before.value, Absent):
            self.constants[name] = Binding(binding.value, notes, binding.line, binding.file)
        elif isinstance(before.value, Unknown) and before.value.maybe_absent:
            unknown = Unknown(before.value.reason)
            self.constants[name] = Binding(unknown, notes, binding.line, binding.file)

    def assign(self, name: str, binding: Binding) -> None:
        """Set a variable."""
        self.variables[name] = Binding(
            binding.value, binding.notes | self.caution | self.early, binding.line, binding.file
        )


def doubted(names: Names, notes: Notes) -> Names:
    """Return the same bindings, each with `notes`."""
    if not notes:
        return names
    return {name: replace(binding, notes=binding.notes | notes) for name, binding in names.items()}


def merge(
    one: State, other: State, *, reason: str, preferred: bool, notes: Notes = NO_NOTES
) -> State:
    """Return the state after a branch whose condition is not certain.

    With `preferred` the branch `one` is taken and what differs carries the `notes`; without, what
    differs is unknown for `reason`.
    """
    merged = State(
        _merge_names(one.constants, other.constants, reason, preferred, notes),
        _merge_names(one.variables, other.variables, reason, preferred, notes),
        {**other.functions, **one.functions},
        one.caution | other.caution,
        one.early | other.early,
    )
    if preferred:
        merged.caution, merged.early = one.caution, one.early
    return merged


def _merge_names(
    one: Mapping[str, Binding],
    other: Mapping[str, Binding],
    reason: str,
    preferred: bool,
    notes: Notes,
) -> Names:
    merged: Names = {}
    for name in {**one, **other}:
        left = one.get(name, _NOTHING)
        right = other.get(name, _NOTHING)
        if left is right:
            merged[name] = left
        elif preferred:
            merged[name] = Binding(
                left.value, left.notes | right.notes | notes, left.line or right.line, left.file
            )
        else:
            merged[name] = _merge_bindings(left, right, reason)
    return merged


def _merge_bindings(left: Binding, right: Binding, reason: str) -> Binding:
    notes = left.notes | right.notes
    line = left.line or right.line
    file = left.file or right.file
    if same(left.value, right.value):
        return Binding(left.value, notes, line, file)
    return Binding(
        Unknown(reason, maybe_absent=_may_be_absent(left) or _may_be_absent(right)),
        notes,
        line,
        file,
    )


def _may_be_absent(binding: Binding) -> bool:
    value = binding.value
    return isinstance(value, Absent) or (isinstance(value, Unknown) and value.maybe_absent)

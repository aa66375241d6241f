"""PHP's functions that read or change more than their arguments, and calls in general."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from workers.engine.php.evaluator import Evaluator
from workers.engine.php.files import SiteFiles, decode
from workers.engine.php.functions import HARMLESS, PURE, call_pure
from workers.engine.php.state import Binding, Names, State, doubted
from workers.engine.php.syntax import Call, Function
from workers.engine.php.values import Absent, Unknown, Value, text

_Rule: TypeAlias = Callable[[Call, list[Value]], Value]

# Functions that set variables in whoever calls them, or code that is not there to be read.
_DANGEROUS = frozenset(
    ("extract", "parse_str", "eval", "call_user_func", "call_user_func_array", "create_function")
)


class Builtins(Evaluator):
    """Calls functions: PHP's that are known here, the site's own, and those not followed."""

    def __init__(self, state: State, files: SiteFiles) -> None:
        super().__init__(state)
        self.files = files
        self.environment = files.environment
        self.global_variables: Names = {}
        self.globals_used: set[str] = set()
        self._builtins: dict[str, _Rule] = {
            "define": self._define,
            "defined": self._defined,
            "constant": self._constant_value,
            "getenv": self._getenv,
            "putenv": self._putenv,
            "file_exists": lambda node, values: self._exists(values, "any"),
            "is_file": lambda node, values: self._exists(values, "file"),
            "is_readable": lambda node, values: self._exists(values, "any"),
            "is_dir": lambda node, values: self._exists(values, "dir"),
            "realpath": self._realpath,
            "file_get_contents": self._contents,
            "function_exists": self._function_exists,
        }

    def call_declared(self, function: Function, node: Call) -> Value:
        """Call one of the site's own functions; in the interpreter."""
        raise NotImplementedError

    def call(self, node: Call) -> Value:
        """Return what a call gives; one that is not followed makes what it touches unknown."""
        rule = self._builtins.get(node.name)
        if rule is not None:
            return rule(node, [self.evaluate(argument) for argument in node.arguments])
        if node.name in PURE:
            values = tuple(self.evaluate(argument) for argument in node.arguments)
            return call_pure(node.name, values)
        if (function := self.state.functions.get(node.name)) is not None:
            return self.call_declared(function, node)
        for argument in node.arguments:
            self.evaluate(argument)
            self.forget(argument)
        reason = f"line {node.line} calls {node.name}(), which is not followed"
        if node.name in _DANGEROUS or node.name not in HARMLESS:
            self.caution(reason)
        return Unknown(reason)

    @contextmanager
    def own_variables(self) -> Iterator[None]:
        """Give a function variables of its own; those it declares global go back afterwards."""
        outer, outer_used = self.state.variables, self.globals_used
        if not self.call_depth:
            self.global_variables = outer
        shared = {name: binding for name, binding in outer.items() if name.endswith("]")}
        self.state.variables, self.globals_used = shared, set()
        self.call_depth += 1
        caution = self.state.caution
        try:
            yield
        finally:
            self.call_depth -= 1
            if self.call_depth and self.globals_used:
                self.caution("a function called by a function uses global variables")
            shared_names = set() if self.call_depth else self.globals_used
            changed = {
                name: binding
                for name, binding in self.state.variables.items()
                if name in shared_names or name.endswith("]")
            }
            if not self.call_depth:
                # What a function does to $GLOBALS waits under such names until here.
                for name in [name for name in changed if name.startswith("GLOBALS[")]:
                    changed[name[len("GLOBALS[") : -1]] = changed.pop(name)
            self.globals_used = outer_used
            outer = doubted(outer, self.state.caution - caution)
            self.state.variables = {**outer, **changed}

    def define(self, name: str, value: Value, notes: set[str], line: int) -> None:
        """Define a constant with what its value hangs on."""
        self.state.define(name, Binding(value, frozenset(notes), line, self.file))

    def _define(self, node: Call, values: list[Value]) -> Value:
        if len(values) < 2 or not isinstance(values[0], str):
            self.caution(f"line {node.line} defines a constant whose name is not known")
            return Unknown(f"line {node.line} defines a constant whose name is not known")
        # What the arguments hang on has gone into the notes of the statement by now.
        self.define(values[0].lstrip("\\"), values[1], self.notes, node.line)
        return True

    def _defined(self, node: Call, values: list[Value]) -> Value:
        name = values[0] if values else None
        if not isinstance(name, str):
            return Unknown(f"line {node.line} asks for a constant whose name is not known")
        found = self.constant(name)
        if isinstance(found, Unknown):
            return found if found.maybe_absent else True
        return not isinstance(found, Absent)

    def _constant_value(self, node: Call, values: list[Value]) -> Value:
        name = values[0] if values else None
        if not isinstance(name, str):
            return Unknown(f"line {node.line} asks for a constant whose name is not known")
        found = self.constant(name)
        return Unknown(f"the constant {name} is not set") if isinstance(found, Absent) else found

    def _getenv(self, node: Call, values: list[Value]) -> Value:
        if not values or not isinstance(values[0], str):
            return Unknown(f"line {node.line} reads the environment in a way not followed")
        found = self.environment_variable(values[0])
        return False if isinstance(found, Absent) else found

    def _putenv(self, node: Call, values: list[Value]) -> Value:
        setting = values[0] if values else None
        if not isinstance(setting, str) or "=" not in setting:
            self.caution(f"line {node.line} changes the environment in a way not followed")
            return Unknown(f"line {node.line} changes the environment")
        name, _equals, value = setting.partition("=")
        self.state.assign(f"getenv[{name}]", Binding(value, frozenset(self.notes), node.line))
        return True

    def _exists(self, values: list[Value], kind: str) -> Value:
        path = text(values[0]) if values else Unknown("a file without a name is looked for")
        return path if isinstance(path, Unknown) else self.files.exists(path, kind)

    def _realpath(self, node: Call, values: list[Value]) -> Value:
        found = self._exists(values, "any")
        if found is not True:
            return found
        resolved = self.files.resolve(str(values[0]))
        return resolved if isinstance(resolved, Unknown) else str(resolved)

    def _contents(self, node: Call, values: list[Value]) -> Value:
        path = text(values[0]) if len(values) == 1 else Unknown("a part of a file is read")
        if isinstance(path, Unknown):
            return path
        opened = self.files.read(path)
        if isinstance(opened, Unknown):
            return opened
        content, encoding = decode(opened[1])
        return content if encoding == "utf-8" else Unknown(f"{path} is no UTF-8 text")

    def _function_exists(self, node: Call, values: list[Value]) -> Value:
        name = values[0].lower() if values and isinstance(values[0], str) else ""
        if name in self._builtins or name in PURE or name in self.state.functions:
            return True
        return Unknown(f"line {node.line} asks for a function that is not known")

"""Finds what names stand for, and sets them: variables, their elements, constants, environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from workers.engine.php.state import Binding, State
from workers.engine.php.syntax import (
    ArrayLiteral,
    Constant,
    Expression,
    Index,
    Literal,
    Opaque,
    Variable,
)
from workers.engine.php.values import ABSENT, Absent, PhpArray, Unknown, Value, key_of

SUPERGLOBALS = frozenset(
    ("_SERVER", "_ENV", "_GET", "_POST", "_COOKIE", "_REQUEST", "_FILES", "_SESSION", "GLOBALS")
)
# What a web server puts into $_SERVER for each request (RFC 3875 and the PHP manual's list).
_REQUEST = re.compile(
    r"HTTP_|SERVER_|REQUEST_|REMOTE_|SCRIPT_|PATH_|ORIG_|PHP_|AUTH_|GATEWAY_|CONTENT_|CONTEXT_"
    r"|SSL_|REDIRECT_|HTTPS\Z|QUERY_STRING\Z|DOCUMENT_|argv\Z|argc\Z",
)
_CONSTANTS: Mapping[str, Value] = {
    "true": True,
    "false": False,
    "null": None,
}
_PREDEFINED: Mapping[str, Value] = {
    "PHP_EOL": "\n",
    "DIRECTORY_SEPARATOR": "/",
    "PATH_SEPARATOR": ":",
    "PHP_OS_FAMILY": "Linux",
    "PHP_URL_SCHEME": 0,
    "PHP_URL_HOST": 1,
    "PHP_URL_PORT": 2,
    "PHP_URL_USER": 3,
    "PHP_URL_PASS": 4,
    "PHP_URL_PATH": 5,
    "PHP_URL_QUERY": 6,
    "PHP_URL_FRAGMENT": 7,
}
_OF_PHP = re.compile(r"(PHP|E|INI|LC|JSON|FILTER|SORT|M|ENT|LOCK|PREG|MYSQLI|PDO|__[A-Z]+)_")


class Lookup:
    """Reads and writes names in `state`; `notes` gathers what a result was assumed on."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.notes: set[str] = set()
        self.environment: Mapping[str, str] | None = None
        self.file = ""
        self.call_depth = 0

    def evaluate(self, node: Expression) -> Value:
        """Evaluate any expression; in the evaluator."""
        raise NotImplementedError

    def lookup(self, node: Expression) -> Value | Absent:
        """Return the value of a name or element, `ABSENT` where it is not set."""
        if isinstance(node, Variable):
            return self._variable(node)
        if isinstance(node, Constant):
            return self.constant(node.name)
        if isinstance(node, Index):
            return self._element(node)
        return self.evaluate(node)

    def constant(self, name: str) -> Value | Absent:
        """Return what a constant or magic constant stands for."""
        if name.lower() in _CONSTANTS:
            return _CONSTANTS[name.lower()]
        if name.upper() == "__FILE__":
            return self.file
        if name.upper() == "__DIR__":
            return self.file.rpartition("/")[0] or "/"
        if name in _PREDEFINED:
            return _PREDEFINED[name]
        if name not in self.state.constants and _OF_PHP.match(name):
            return Unknown(f"the constant {name} depends on the site's PHP")
        return self._bound(self.state.constants.get(name))

    def environment_variable(self, name: str) -> str | Absent | Unknown:
        """Return what `getenv()` gives, `ABSENT` where a variable is not set."""
        overlay = self.state.variables.get(f"getenv[{name}]")
        if overlay is not None:
            found = self._bound(overlay)
            if isinstance(found, str | Unknown):
                return found
        return self._given(name)

    def _given(self, name: str) -> str | Absent:
        """Return a variable of the environment that the site was started with."""
        if self.environment is not None:
            return self.environment.get(name, ABSENT)
        self.notes.add(f"the environment variable {name} is not set here")
        return ABSENT

    def _bound(self, binding: Binding | None) -> Value | Absent:
        if binding is None:
            self.notes |= self.state.caution
            return ABSENT
        self.notes |= binding.notes
        return binding.value

    def _variable(self, node: Variable) -> Value | Absent:
        if node.name in SUPERGLOBALS:
            return Unknown(f"${node.name} as a whole depends on the request")
        return self._bound(self.state.variables.get(node.name))

    def _element(self, node: Index) -> Value | Absent:
        if node.key is None:
            return Unknown("an element without a key is read")
        key = key_of(self.evaluate(node.key))
        if isinstance(node.base, Variable) and node.base.name in SUPERGLOBALS:
            return self._superglobal(node.base.name, key)
        base = self.lookup(node.base)
        if isinstance(key, Unknown):
            return key
        if isinstance(base, dict):
            return base.get(key, ABSENT)
        if isinstance(base, Unknown):
            return base
        if isinstance(base, str) and isinstance(key, int) and base.isascii():
            return base[key] if -len(base) <= key < len(base) else ABSENT
        return ABSENT if isinstance(base, Absent | None) else Unknown("a text is indexed")

    def _superglobal(self, name: str, key: str | int | Unknown) -> Value | Absent:
        if isinstance(key, Unknown):
            return key
        if name == "GLOBALS" and not self.call_depth:
            return self._bound(self.state.variables.get(str(key)))
        overlay = self.state.variables.get(f"{name}[{key}]")
        if overlay is not None:
            return self._bound(overlay)
        if name == "_ENV" or (name == "_SERVER" and not _REQUEST.match(str(key))):
            return self._given(str(key))
        return Unknown(f"${name}['{key}'] depends on the request")

    def assign(self, target: Expression, value: Value, notes: set[str]) -> None:
        """Set a variable, an element or the places of a list."""
        if isinstance(target, Variable) and target.name not in SUPERGLOBALS:
            self._set(target.name, value, notes, target.line)
        elif isinstance(target, Index):
            self._assign_element(target, value, notes)
        elif isinstance(target, ArrayLiteral):
            self._assign_list(target, value, notes)
        elif not isinstance(target, Opaque) or target.calls:
            self.state.doubt({f"line {target.line} sets something that is not followed"})

    def _set(self, name: str, value: Value | Absent, notes: set[str], line: int) -> None:
        self.state.assign(name, Binding(value, frozenset(notes), line, self.file))

    def _assign_element(self, target: Index, value: Value, notes: set[str]) -> None:
        if isinstance(target.base, Variable) and target.base.name in SUPERGLOBALS:
            self._assign_superglobal(target.base, target, value, notes)
            return
        before = self.lookup(target.base)
        key = self._next_key(before) if target.key is None else key_of(self.evaluate(target.key))
        array: Value
        if isinstance(before, Unknown):
            array = before
        elif isinstance(key, Unknown) or not isinstance(before, dict | Absent | None):
            array = Unknown(f"an element is set in line {target.line} in a way not followed")
        else:
            elements: PhpArray = dict(before) if isinstance(before, dict) else {}
            elements[key] = value
            array = elements
        self.assign(target.base, array, notes | self.notes)

    def _next_key(self, array: Value | Absent) -> int:
        keys = [key for key in array if isinstance(key, int)] if isinstance(array, dict) else []
        return max(keys, default=-1) + 1

    def _assign_superglobal(
        self, base: Variable, target: Index, value: Value | Absent, notes: set[str]
    ) -> None:
        key = Unknown("") if target.key is None else key_of(self.evaluate(target.key))
        if isinstance(key, Unknown):
            self.state.doubt({f"line {target.line} sets ${base.name} in a way not followed"})
        elif base.name == "GLOBALS" and not self.call_depth:
            self._set(str(key), value, notes, target.line)
        else:
            self._set(f"{base.name}[{key}]", value, notes, target.line)

    def _assign_list(self, target: ArrayLiteral, value: Value, notes: set[str]) -> None:
        for position, item in enumerate(target.items):
            if item.value is None:
                continue
            key = key_of(position if item.key is None else self.evaluate(item.key))
            element: Value = Unknown(f"the list in line {target.line} cannot be taken apart")
            if isinstance(value, dict) and not isinstance(key, Unknown):
                element = value.get(key, element)
            self.assign(item.value, element, notes)

    def remove(self, target: Expression) -> None:
        """Unset a variable or an element."""
        if isinstance(target, Variable) and target.name not in SUPERGLOBALS:
            self._set(target.name, ABSENT, set(), target.line)
            return
        if isinstance(target, Index) and isinstance(target.base, Variable):
            if target.base.name in SUPERGLOBALS:
                self._assign_superglobal(target.base, target, ABSENT, set())
                return
            before = self.lookup(target.base)
            if isinstance(before, dict) and target.key is not None:
                key = key_of(self.evaluate(target.key))
                rest: Value = {name: item for name, item in before.items() if name != key}
                self.assign(target.base, key if isinstance(key, Unknown) else rest, set())
                return
        self.assign(target, Unknown(f"something is unset in line {target.line}"), set())

    def describe(self, node: Expression) -> str:
        """Return how a message names a variable, element or constant."""
        if isinstance(node, Variable):
            return f"${node.name}"
        if isinstance(node, Constant):
            return f"the constant {node.name}"
        if isinstance(node, Index) and isinstance(node.base, Variable):
            if isinstance(node.key, Literal):
                return f"${node.base.name}['{node.key.value}']"
            return f"an element of ${node.base.name}"
        return "an element of an array"

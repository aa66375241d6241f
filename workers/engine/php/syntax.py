"""The tree that the parser makes and the interpreter walks. Every node knows its line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """Anything in the tree; `line` counts from 1."""

    line: int


class Expression(Node):
    """Has a value."""

    __slots__ = ()


class Statement(Node):
    """Does something."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A string without interpolation, or a number."""

    value: str | int | float


@dataclass(frozen=True, slots=True)
class Template(Expression):
    """A string with expressions in it."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Variable(Expression):
    """`$name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """A constant or magic constant by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class ArrayItem:
    """One `key => value` of an array; `key` is None in a list, `value` None in a skipped place."""

    key: Expression | None
    value: Expression | None


@dataclass(frozen=True, slots=True)
class ArrayLiteral(Expression):
    """`[…]`, `array(…)` or, as the target of an assignment, `list(…)`."""

    items: tuple[ArrayItem, ...]


@dataclass(frozen=True, slots=True)
class Index(Expression):
    """`base[key]`; `key` is None in `base[] = …`."""

    base: Expression
    key: Expression | None


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """`operator operand`; a cast is written as `(int)` and so on."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Ternary(Expression):
    """`condition ? yes : no`; `yes` is None in `condition ?: no`."""

    condition: Expression
    yes: Expression | None
    no: Expression


@dataclass(frozen=True, slots=True)
class Assign(Expression):
    """`target = value`; `operator` is that of `.=` and the like, or empty."""

    target: Expression
    operator: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`name(arguments)`; the name in lower case, without its namespace."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Isset(Expression):
    """`isset(…)`."""

    targets: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Empty(Expression):
    """`empty(…)`."""

    target: Expression


@dataclass(frozen=True, slots=True)
class Include(Expression):
    """`include`, `require` and their `_once` forms."""

    keyword: str
    path: Expression


@dataclass(frozen=True, slots=True)
class Exit(Expression):
    """`exit` or `die`: also allowed as `… or die()`."""


@dataclass(frozen=True, slots=True)
class Opaque(Expression):
    """Understood as an expression, but not followed: method calls, `new`, closures, `match`.

    `calls` is True when evaluating it may run code that sets anything.
    """

    description: str
    parts: tuple[Expression, ...] = ()
    calls: bool = True


@dataclass(frozen=True, slots=True)
class ExpressionStatement(Statement):
    """An expression for its effect."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Block(Statement):
    """Statements in turn."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If(Statement):
    """`if`; an `elseif` is an `If` in `no`."""

    condition: Expression
    yes: Statement
    no: Statement | None


@dataclass(frozen=True, slots=True)
class Repeat(Statement):
    """`while`, `do` and `for`: runs any number of times, so what it sets is unknown."""

    conditions: tuple[Expression, ...]
    body: Statement


@dataclass(frozen=True, slots=True)
class Foreach(Statement):
    """`foreach (subject as key => value) body`."""

    subject: Expression
    key: Expression | None
    value: Expression
    body: Statement


@dataclass(frozen=True, slots=True)
class Case:
    """One `case` of a switch; `test` is None for `default`."""

    test: Expression | None
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Switch(Statement):
    """`switch`."""

    subject: Expression
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Try(Statement):
    """`try`, its `catch` blocks and `finally`."""

    body: Statement
    catches: tuple[Statement, ...]
    last: Statement | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A function's parameter."""

    name: str
    default: Expression | None
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Function(Statement):
    """A function's declaration; the name in lower case."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Statement


@dataclass(frozen=True, slots=True)
class ConstantDeclaration(Statement):
    """`const name = value;`."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Return(Statement):
    """`return`."""

    value: Expression | None


@dataclass(frozen=True, slots=True)
class Leave(Statement):
    """`break` or `continue`, and how many loops it leaves."""

    keyword: str
    levels: int


@dataclass(frozen=True, slots=True)
class Global(Statement):
    """`global $a, $b;`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unset(Statement):
    """`unset(…);`."""

    targets: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class NotUnderstood(Statement):
    """A statement that the parser gave up on."""

    message: str

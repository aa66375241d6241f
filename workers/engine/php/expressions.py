"""Parses expressions, by precedence climbing over the operators of PHP 8."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.php.literals import Interpolation, PhpSyntaxError
from workers.engine.php.operators import (
    ASSIGNMENTS,
    CASTS,
    COALESCE,
    INCLUDES,
    LEFT,
    NOT,
    POWER,
    PREFIX,
    TERNARY,
)
from workers.engine.php.syntax import (
    ArrayItem,
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
from workers.engine.php.tokens import Kind, Token, tokenize_expression

_MAX_DEPTH = 60


class ExpressionParser:
    """Reads expressions from a list of tokens. `encoding` is that of the file's bytes."""

    def __init__(self, tokens: list[Token], encoding: str) -> None:
        self.tokens = tokens
        self.position = 0
        self.encoding = encoding
        self.depth = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.position]

    def next(self) -> Token:
        """Take the next token; the end is never passed."""
        token = self.tokens[self.position]
        if token.kind is not Kind.END:
            self.position += 1
        return token

    def take(self, *operators: str) -> bool:
        """Take the next token if it is one of `operators`."""
        if self.token.is_operator(*operators):
            self.position += 1
            return True
        return False

    def expect(self, operator: str) -> None:
        """Take `operator` or raise `PhpSyntaxError`."""
        if not self.take(operator):
            raise self.error(f"{operator!r} is expected")

    def error(self, message: str) -> PhpSyntaxError:
        """Return an error about the next token; what may be part of a secret is not quoted."""
        token = self.token
        found = {
            Kind.OPERATOR: repr(token.text),
            Kind.END: "the end",
        }.get(token.kind, f"a {token.kind.value}")
        return PhpSyntaxError(token.line, f"{message} before {found}")

    def expression(self, minimum: int = 0) -> Expression:
        """Parse one expression whose operators bind at least as tightly as `minimum`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("less nesting is expected")
        left = self._prefix()
        while (joined := self._join(left, minimum)) is not None:
            left = joined
        self.depth -= 1
        return left

    def _join(self, left: Expression, minimum: int) -> Expression | None:
        """Return `left` with the operator that follows and its right side, or None."""
        token = self.token
        if token.kind is Kind.OPERATOR and token.text in ASSIGNMENTS:
            return self._assignment(left)
        if token.is_operator("?") and minimum <= TERNARY:
            return self._ternary(left)
        if token.is_operator("??") and minimum <= COALESCE:
            self.next()
            return Binary(token.line, "??", left, self.expression(COALESCE))
        if token.is_operator("**") and minimum <= POWER:
            self.next()
            return Binary(token.line, "**", left, self.expression(PREFIX))
        operator = token.text.lower() if token.kind is Kind.NAME else token.text
        power = LEFT.get(operator) if token.kind in (Kind.OPERATOR, Kind.NAME) else None
        if power is None or power < minimum:
            return None
        self.next()
        return Binary(token.line, operator, left, self.expression(power + 1))

    def _assignment(self, left: Expression) -> Expression:
        token = self.next()
        if not isinstance(left, Variable | Index | ArrayLiteral | Opaque):
            raise PhpSyntaxError(token.line, "something is assigned to what can hold no value")
        if self.take("&"):
            right = self.expression(4)
            return Assign(token.line, left, "", Opaque(token.line, "a reference", (right,)))
        return Assign(token.line, left, token.text[:-1], self.expression(4))

    def _ternary(self, condition: Expression) -> Expression:
        line = self.next().line
        if self.take(":"):
            return Ternary(line, condition, None, self.expression(TERNARY + 1))
        yes = self.expression(4)
        self.expect(":")
        return Ternary(line, condition, yes, self.expression(TERNARY + 1))

    def _prefix(self) -> Expression:
        token = self.token
        if token.kind is Kind.OPERATOR:
            if token.text in ("-", "+", "~", "@"):
                self.next()
                return Unary(token.line, token.text, self.expression(PREFIX))
            if token.text == "!":
                self.next()
                return Unary(token.line, "!", self.expression(NOT))
            if token.text in ("++", "--", "&"):
                self.next()
                operand = self.expression(PREFIX)
                return Assign(token.line, operand, "", Opaque(token.line, token.text))
            if token.text == "(":
                return self._parenthesis()
        return self._postfix(self._primary())

    def _parenthesis(self) -> Expression:
        line = self.next().line
        following = self.tokens[self.position + 1 : self.position + 2]
        if self.token.is_keyword(*CASTS) and following and following[0].is_operator(")"):
            cast = self.next().text.lower()
            self.next()
            return Unary(line, f"({cast})", self.expression(PREFIX))
        inner = self.expression()
        self.expect(")")
        return self._postfix(inner)

    def _postfix(self, base: Expression) -> Expression:
        while True:
            token = self.token
            if self.take("["):
                key = None if self.token.is_operator("]") else self.expression()
                self.expect("]")
                base = Index(token.line, base, key)
            elif self.take("->", "?->", "::"):
                base = self._member(base, token)
            elif token.is_operator("("):
                base = Opaque(token.line, "a call of a computed function", self.arguments())
            elif self.take("++", "--"):
                base = Assign(token.line, base, "", Opaque(token.line, token.text))
            else:
                return base

    def _member(self, base: Expression, operator: Token) -> Expression:
        """Parse what follows `->` or `::`; no object is followed."""
        name = "a member of an object"
        if self.take("{"):
            self.expression()
            self.expect("}")
        elif self.token.kind in (Kind.NAME, Kind.VARIABLE):
            name = f"{_source_of(base)}{operator.text}{self.next().text}"
        else:
            raise self.error("a member's name is expected")
        if self.token.is_operator("("):
            return Opaque(operator.line, f"{name}()", (base, *self.arguments()))
        return Opaque(operator.line, name, (base,), calls=False)

    def arguments(self) -> tuple[Expression, ...]:
        """Parse `(a, b, …)`; a spread or named argument is parsed as its value."""
        self.expect("(")
        collected: list[Expression] = []
        while not self.take(")"):
            line = self.token.line
            if self.take("..."):
                spread = () if self.token.is_operator(")") else (self.expression(),)
                collected.append(Opaque(line, "a spread argument", spread, calls=False))
            elif self.token.kind is Kind.NAME and self.tokens[self.position + 1].is_operator(":"):
                self.position += 2
                collected.append(Opaque(line, "a named argument", (self.expression(),), False))
            else:
                collected.append(self.expression())
            if not self.token.is_operator(")"):
                self.expect(",")
        return tuple(collected)

    def _primary(self) -> Expression:
        token = self.next()
        if token.kind is Kind.VARIABLE:
            return Variable(token.line, token.text)
        if token.kind is Kind.STRING:
            return self._string(token)
        if token.kind is Kind.NUMBER:
            return Literal(token.line, _number(token))
        if token.kind is Kind.NAME:
            return self._name(token)
        if token.is_operator("["):
            return ArrayLiteral(token.line, self._items("]"))
        if token.is_operator("#["):
            self.skip_balanced("[", "]")
            return self.expression(PREFIX)
        self.position -= token.kind is not Kind.END
        raise self.error("an expression is expected")

    def _string(self, token: Token) -> Expression:
        if not token.parts:
            return Literal(token.line, "")
        if len(token.parts) == 1 and isinstance(token.parts[0], str):
            return Literal(token.line, token.parts[0])
        return Template(token.line, tuple(self._part(part) for part in token.parts))

    def _part(self, part: str | Interpolation) -> str | Expression:
        if isinstance(part, str):
            return part
        opaque = Opaque(part.line, "a part of a string", calls=False)
        if not part.source:
            return opaque
        tokens = tokenize_expression(part.source, line=part.line, encoding=self.encoding)
        parser = ExpressionParser(tokens, self.encoding)
        parser.depth = self.depth
        return parser.expression()

    def _name(self, token: Token) -> Expression:
        word = token.text.lower()
        if (parse := self._special(word)) is not None:
            return parse(token)
        name = token.text.rpartition("\\")[2]
        if self.token.is_operator("("):
            return Call(token.line, name.lower(), self.arguments())
        return Constant(token.line, name)

    def _special(self, word: str) -> Callable[[Token], Expression] | None:
        if word in INCLUDES:
            return self._include
        if word == "array" and not self.token.is_operator("("):
            return None
        return {
            "array": self._array,
            "list": self._array,
            "isset": lambda token: Isset(token.line, self.arguments()),
            "empty": lambda token: Empty(token.line, self.arguments()[0]),
            "exit": self._exit,
            "die": self._exit,
            "print": lambda token: Opaque(token.line, "print", (self.expression(4),), False),
            "new": self._new,
            "clone": lambda token: Opaque(token.line, "clone", (self.expression(PREFIX),)),
            "throw": self._throw,
            "yield": self._unsupported,
            "match": self._match,
            "function": self._closure,
            "fn": self._arrow,
            "static": self._static,
        }.get(word)

    def _unsupported(self, token: Token) -> Expression:
        raise PhpSyntaxError(token.line, f"{token.text} is not understood")

    def _include(self, token: Token) -> Expression:
        return Include(token.line, token.text.lower(), self.expression(4))

    def _array(self, token: Token) -> Expression:
        self.expect("(")
        return ArrayLiteral(token.line, self._items(")"))

    def _items(self, closing: str) -> tuple[ArrayItem, ...]:
        items: list[ArrayItem] = []
        while not self.take(closing):
            if self.take(","):
                items.append(ArrayItem(None, None))
                continue
            if self.token.is_operator("...", "&"):
                raise self.error("a plain array is expected")
            value = self.expression()
            if self.take("=>"):
                items.append(ArrayItem(value, self.expression()))
            else:
                items.append(ArrayItem(None, value))
            if not self.token.is_operator(closing):
                self.expect(",")
        return tuple(items)

    def _exit(self, token: Token) -> Expression:
        if self.token.is_operator("("):
            self.arguments()
        return Exit(token.line)

    def _throw(self, token: Token) -> Expression:
        self.expression()
        return Exit(token.line)

    def _new(self, token: Token) -> Expression:
        if self.token.is_keyword("class"):
            self.next()
            parts = self.arguments() if self.token.is_operator("(") else ()
            while not self.token.is_operator("{"):
                self.skip_one()
            self.next()
            self.skip_balanced("{", "}")
            return Opaque(token.line, "new class", parts)
        name = self.next().text
        parts = self.arguments() if self.token.is_operator("(") else ()
        return Opaque(token.line, f"new {name}", parts)

    def _match(self, token: Token) -> Expression:
        subject = self.arguments()
        self.expect("{")
        self.skip_balanced("{", "}")
        return Opaque(token.line, "match", subject)

    def _closure(self, token: Token) -> Expression:
        while not self.token.is_operator("{"):
            self.skip_one()
        self.next()
        self.skip_balanced("{", "}")
        return Opaque(token.line, "an anonymous function", calls=False)

    def _arrow(self, token: Token) -> Expression:
        while not self.take("=>"):
            self.skip_one()
        self.expression(4)
        return Opaque(token.line, "an anonymous function", calls=False)

    def _static(self, token: Token) -> Expression:
        if self.token.is_keyword("function", "fn"):
            return self._name(self.next())
        return Constant(token.line, "static")

    def skip_one(self) -> None:
        """Pass over one token of something that is not followed."""
        if self.next().kind is Kind.END:
            raise self.error("more is expected")

    def skip_balanced(self, opening: str, closing: str) -> None:
        """Pass over everything to the `closing` of an `opening` that was taken already."""
        depth = 1
        while depth:
            if self.take(closing):
                depth -= 1
            elif self.take(opening):
                depth += 1
            else:
                self.skip_one()


def _source_of(base: Expression) -> str:
    if isinstance(base, Variable):
        return f"${base.name}"
    if isinstance(base, Constant):
        return base.name
    return "…"


def _number(token: Token) -> int | float:
    text = token.text.replace("_", "").lower()
    if text.startswith(("0x", "0b", "0o")):
        return int(text, 0)
    if text.isdigit():
        try:
            return int(text, 8) if text.startswith("0") else int(text)
        except ValueError:
            raise PhpSyntaxError(token.line, f"{token.text} is no number") from None
    return float(text)

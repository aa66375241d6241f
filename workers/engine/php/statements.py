"""Parses statements. One that is not understood is passed over and says so in the tree."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.php.expressions import ExpressionParser
from workers.engine.php.literals import PhpSyntaxError
from workers.engine.php.syntax import (
    Block,
    Case,
    ConstantDeclaration,
    Expression,
    ExpressionStatement,
    Foreach,
    Function,
    Global,
    If,
    Leave,
    NotUnderstood,
    Opaque,
    Parameter,
    Repeat,
    Return,
    Statement,
    Switch,
    Try,
    Unset,
)
from workers.engine.php.tokens import Kind, tokenize

_MAX_STATEMENT_DEPTH = 40


def parse(source: str, *, encoding: str = "utf-8") -> tuple[Statement, ...]:
    """Return the statements of a PHP file. Raises `PhpSyntaxError` where no token can be made."""
    parser = StatementParser(tokenize(source, encoding=encoding), encoding)
    statements: list[Statement] = []
    while parser.token.kind is not Kind.END and not parser.token.is_keyword("__halt_compiler"):
        statements.append(parser.statement())
    return tuple(statements)


class StatementParser(ExpressionParser):
    """Reads statements from a list of tokens."""

    statement_depth = 0

    def statement(self) -> Statement:
        """Parse one statement; one that is not understood is skipped to its end."""
        start = self.position
        line = self.token.line
        self.statement_depth += 1
        try:
            if self.statement_depth > _MAX_STATEMENT_DEPTH:
                raise self.error("less nesting is expected")
            self.depth = 0
            return self._statement()
        except PhpSyntaxError as error:
            self._recover(start)
            return NotUnderstood(line, error.message)
        finally:
            self.statement_depth -= 1

    def _recover(self, start: int) -> None:
        """Go back to `start` and pass over the statement by its brackets alone."""
        self.position = start
        depth = 0
        while self.token.kind is not Kind.END:
            token = self.next()
            if token.is_operator("(", "[", "{", "#["):
                depth += 1
            elif token.is_operator(")", "]", "}"):
                depth -= 1
                if depth <= 0 and token.text == "}":
                    return
            elif token.is_operator(";") and depth <= 0:
                return

    def _statement(self) -> Statement:
        token = self.token
        if token.is_operator("{"):
            self.next()
            return self._block_until_brace(token.line)
        if self.take(";"):
            return Block(token.line, ())
        if self.take("#["):
            self.skip_balanced("[", "]")
            return self._statement()
        if token.kind is Kind.NAME and (parse := self._keyword(token.text.lower())) is not None:
            self.next()
            return parse(token.line)
        expression = self.expression()
        self.end_of_statement()
        return ExpressionStatement(token.line, expression)

    def _keyword(self, word: str) -> Callable[[int], Statement] | None:
        following = self.tokens[self.position + 1]
        if word in ("function", "static") and following.is_operator("(", "&"):
            return None
        if word == "static" and following.kind is not Kind.VARIABLE:
            return None
        return {
            "if": self._if,
            "while": self._while,
            "do": self._do,
            "for": self._for,
            "foreach": self._foreach,
            "switch": self._switch,
            "try": self._try,
            "function": self._function,
            "const": self._const,
            "return": self._return,
            "break": self._leave,
            "continue": self._leave,
            "global": self._global,
            "unset": self._unset,
            "echo": self._echo,
            "use": self._skip_to_semicolon,
            "namespace": self._namespace,
            "declare": self._declare,
            "static": self._static_variables,
            "class": self._declaration,
            "abstract": self._declaration,
            "final": self._declaration,
            "interface": self._declaration,
            "trait": self._declaration,
        }.get(word)

    def end_of_statement(self) -> None:
        """Take the semicolon; the end of the file stands for one, as `?>` does."""
        if self.token.kind is not Kind.END:
            self.expect(";")

    def _block_until_brace(self, line: int) -> Block:
        statements: list[Statement] = []
        while not self.take("}"):
            if self.token.kind is Kind.END:
                raise self.error("'}' is expected")
            statements.append(self.statement())
        return Block(line, tuple(statements))

    def _body(self, *ends: str) -> Statement:
        """Parse a statement, or `: …` up to (not including) one of the words `ends`."""
        line = self.token.line
        if not self.take(":"):
            return self.statement()
        statements: list[Statement] = []
        while not self.token.is_keyword(*ends):
            if self.token.kind is Kind.END:
                raise self.error(f"{ends[0]} is expected")
            statements.append(self.statement())
        return Block(line, tuple(statements))

    def _loop_body(self, end: str) -> Statement:
        colon = self.token.is_operator(":")
        body = self._body(end)
        if colon:
            self.next()
            self.end_of_statement()
        return body

    def _condition(self) -> Expression:
        self.expect("(")
        condition = self.expression()
        self.expect(")")
        return condition

    def _if(self, line: int) -> Statement:
        condition = self._condition()
        colon = self.token.is_operator(":")
        yes = self._body("elseif", "else", "endif")
        no: Statement | None = None
        here = self.token.line
        if self.token.is_keyword("elseif"):
            self.next()
            return If(line, condition, yes, self._if(here))
        if self.token.is_keyword("else"):
            self.next()
            if not colon and self.token.is_keyword("if"):
                self.next()
                return If(line, condition, yes, self._if(here))
            no = self._body("endif")
        if colon:
            if not self.token.is_keyword("endif"):
                raise self.error("endif is expected")
            self.next()
            self.end_of_statement()
        return If(line, condition, yes, no)

    def _while(self, line: int) -> Statement:
        condition = self._condition()
        return Repeat(line, (condition,), self._loop_body("endwhile"))

    def _do(self, line: int) -> Statement:
        body = self.statement()
        if not self.token.is_keyword("while"):
            raise self.error("while is expected")
        self.next()
        condition = self._condition()
        self.end_of_statement()
        return Repeat(line, (condition,), body)

    def _for(self, line: int) -> Statement:
        self.expect("(")
        parts: list[Expression] = []
        while not self.take(")"):
            if not self.take(";", ","):
                parts.append(self.expression())
        return Repeat(line, tuple(parts), self._loop_body("endfor"))

    def _foreach(self, line: int) -> Statement:
        self.expect("(")
        subject = self.expression()
        if not self.token.is_keyword("as"):
            raise self.error("as is expected")
        self.next()
        key: Expression | None = None
        value = self.expression()
        if self.take("=>"):
            key, value = value, self.expression()
        self.expect(")")
        return Foreach(line, subject, key, value, self._loop_body("endforeach"))

    def _switch(self, line: int) -> Statement:
        subject = self._condition()
        ends_with_word = self.take(":")
        if not ends_with_word:
            self.expect("{")
        cases: list[Case] = []
        while not (self.token.is_keyword("endswitch") or self.token.is_operator("}")):
            test = None
            if self.token.is_keyword("case"):
                self.next()
                test = self.expression()
            elif self.token.is_keyword("default"):
                self.next()
            else:
                raise self.error("case is expected")
            if not self.take(":", ";"):
                raise self.error("':' is expected")
            cases.append(Case(test, self._case_statements()))
        self.next()
        if ends_with_word:
            self.end_of_statement()
        return Switch(line, subject, tuple(cases))

    def _case_statements(self) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        while not (
            self.token.is_keyword("case", "default", "endswitch") or self.token.is_operator("}")
        ):
            if self.token.kind is Kind.END:
                raise self.error("'}' is expected")
            statements.append(self.statement())
        return tuple(statements)

    def _try(self, line: int) -> Statement:
        body = self.statement()
        catches: list[Statement] = []
        last: Statement | None = None
        while self.token.is_keyword("catch"):
            self.next()
            self.expect("(")
            self.skip_balanced("(", ")")
            catches.append(self.statement())
        if self.token.is_keyword("finally"):
            self.next()
            last = self.statement()
        return Try(line, body, tuple(catches), last)

    def _function(self, line: int) -> Statement:
        self.take("&")
        name = self.next().text.lower()
        self.expect("(")
        parameters: list[Parameter] = []
        while not self.take(")"):
            parameters.append(self._parameter())
            if not self.token.is_operator(")"):
                self.expect(",")
        while not self.token.is_operator("{"):
            self.skip_one()
        return Function(line, name, tuple(parameters), self.statement())

    def _parameter(self) -> Parameter:
        is_plain = True
        while self.token.kind is not Kind.VARIABLE:
            # Types do not matter here; references and the rest argument do.
            is_plain = is_plain and not self.token.is_operator("&", "...")
            self.skip_one()
        name = self.next().text
        default = self.expression() if self.take("=") else None
        return Parameter(name, default, is_plain)

    def _const(self, line: int) -> Statement:
        declared: list[Statement] = []
        while True:
            name = self.next().text
            self.expect("=")
            declared.append(ConstantDeclaration(line, name, self.expression()))
            if not self.take(","):
                self.end_of_statement()
                return Block(line, tuple(declared))

    def _return(self, line: int) -> Statement:
        value = None
        if not (self.token.is_operator(";") or self.token.kind is Kind.END):
            value = self.expression()
        self.end_of_statement()
        return Return(line, value)

    def _leave(self, line: int) -> Statement:
        keyword = self.tokens[self.position - 1].text.lower()
        levels = 1
        if self.token.kind is Kind.NUMBER:
            levels = int(self.next().text)
        self.end_of_statement()
        return Leave(line, keyword, levels)

    def _global(self, line: int) -> Statement:
        names: list[str] = []
        while self.token.kind is Kind.VARIABLE:
            names.append(self.next().text)
            self.take(",")
        self.end_of_statement()
        return Global(line, tuple(names))

    def _unset(self, line: int) -> Statement:
        targets = self.arguments()
        self.end_of_statement()
        return Unset(line, targets)

    def _echo(self, line: int) -> Statement:
        parts = [self.expression()]
        while self.take(","):
            parts.append(self.expression())
        self.end_of_statement()
        return ExpressionStatement(line, Opaque(line, "echo", tuple(parts), calls=False))

    def _skip_to_semicolon(self, line: int) -> Statement:
        while not self.take(";"):
            self.skip_one()
        return Block(line, ())

    def _namespace(self, line: int) -> Statement:
        while not self.token.is_operator(";", "{"):
            self.skip_one()
        return self.statement()

    def _declare(self, line: int) -> Statement:
        self.arguments()
        return self._loop_body("enddeclare")

    def _static_variables(self, line: int) -> Statement:
        parts: list[Expression] = []
        while not self.take(";"):
            parts.append(self.expression())
            self.take(",")
        return ExpressionStatement(line, Opaque(line, "static", tuple(parts), calls=False))

    def _declaration(self, line: int) -> Statement:
        """Pass over a class: its code runs only when somebody calls it, which is not followed."""
        while not self.token.is_operator("{"):
            self.skip_one()
        self.next()
        self.skip_balanced("{", "}")
        return Block(line, ())

"""Writes settings files at random, in all the ways people write them and in some they do not."""

from __future__ import annotations

import random

ENVIRONMENT = {"PRESENT": "there", "EMPTY": "", "ZERO": "0", "NUMBER": "42"}
CONSTANTS = ["DB_NAME", "DB_USER", "DB_HOST", "WP_HOME"]
VARIABLES = ["table_prefix", "a", "b"]

HEADER = """<?php
function env($name, $default = 'd') {
    if (($value = getenv((string) $name)) !== false) { return $value; }
    else { return $default; }
}
$a = 'alpha'; $list = array('k' => 'kay', 'zero');
"""
_CHARACTERS = [
    *"ab $'\"\\{}[]\n\t#/*?->nx0e1éß€😀;<",
    "<?php",
    "//",
    "/*",
    "{$",
    "${",
    "\\\\",
    "<<<X",
]
_ESCAPES = [
    *("\\n", "\\t", "\\$", "\\\\", '\\"', "\\'", "\\x41", "\\101", "\\u{1F600}", "\\e", "\\q"),
    *("\\x", "\\8", "$", "{", "}", "{ $", "$1", "'", "#", "//", "\\xC3\\xA9", "\\v\\f\\r", "$$"),
]
_INTERPOLATIONS = [
    *("$a", "${a}", "{$a}", "$a[0]", "{$list['k']}", "$list[k]", "{$list[0]}", "$list[0]"),
    *('{$list["k"]}', "$a->", "{$a}s", "$a[", "\\{$a}"),
]
_PLAIN = [
    *("1", "0", "-3", "0x1F", "017", "1_000", "true", "FALSE", "null", "''", "'0'", "1.5", "b'x'"),
    *("$a", "$b", "$list['k']", "$list[0]", "__DIR__", "dirname(__FILE__)", "PHP_EOL", "$list"),
    *("'1e1'", "'10'", "' 10'", "'abc'", "'10 '", "DIRECTORY_SEPARATOR", "basename(__FILE__)"),
    *("[1, 'x']", "array()", "$_SERVER['MISSING'] ?? 'fallback'", "\\strtoupper('x')"),
]
_COMMENTS = ["", "", " ", "\n", "/* ' */", "// it's \"\n", "# don't ?\n", "/** $x */", "/**/"]
_OPERATORS = [
    *(".", ".", ".", "??", "?:", "==", "===", "!=", "!==", "<>", "&&", "||", "and", "or", "xor"),
    *("+", "-", "*", "<", ">="),
]
_FUNCTIONS = [
    *("trim({})", "rtrim({}, '/')", "strtolower({})", "str_replace('a', 'b', {})", "!{}", "-{}"),
    *("(string) {}", "(bool) {}", "(int) {}", "basename({})", "dirname({})", "@{}", "strlen({})"),
    *("substr({}, 1)", "substr({}, -3, 2)", "sprintf('%s-%%%2$d', {}, '7')", "ucfirst({})"),
    *("is_string({})", "intval({})", "implode(',', [{}, 'x'])", "explode('/', {})", "env({}, 'd')"),
    *("ltrim({}, ' a')", "str_contains({}, 'a')", "strpos({}, 'e')", "[{}, 'k' => 'v'][0]"),
    *("in_array({}, ['a', '1', 1])", "(array) {}", "empty({})", "count((array) {})", "env({})"),
    *("str_starts_with({}, 'a')", "dirname({}, 2)", "rawurldecode({})", "$c = {}", "({})"),
]


class Writer:
    """Makes scripts from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def script(self) -> str:
        """Return a whole settings file."""
        count = self._random.randint(1, 6)
        return HEADER + "\n".join(self._statement(2) for _ in range(count)) + "\n"

    def string(self) -> str:
        """Return a string literal in any of PHP's four notations."""
        return self._pick([self._single, self._double, self._heredoc])()

    def _pick(self, choices: list):
        return self._random.choice(choices)

    def _several(self, choices: list, most: int) -> str:
        return "".join(self._pick(choices) for _ in range(self._random.randint(0, most)))

    def _single(self) -> str:
        text = self._several(_CHARACTERS, 8)
        if self._random.random() < 0.5:
            text = text.replace("\\", "\\\\")
        elif text.endswith("\\"):
            text += "n"
        text = text.replace("\\'", "'").replace("'", "\\'")
        return "''" if self._ends_in_backslash(text) else f"'{text}'"

    def _double(self) -> str:
        text = self._several([*_ESCAPES, *_INTERPOLATIONS, "a", "é", " ", "\n", "?>"], 5)
        return '""' if self._ends_in_backslash(text) else f'"{text}"'

    def _ends_in_backslash(self, text: str) -> bool:
        return (len(text) - len(text.rstrip("\\"))) % 2 == 1

    def _heredoc(self) -> str:
        mark = self._pick(["EOT", "'EOT'", '"EOT"'])
        indent = self._pick(["", "  ", "\t"])
        words = ["one", "$a", "{$a}", "\\n", '\\"', '"', "'", "\\$x", "  two", "#", "", "EO"]
        lines = [indent + self._pick(words) for _ in range(self._random.randint(0, 3))]
        return "\n".join([f"<<<{mark}", *lines, f"{indent}EOT"])

    def _expression(self, depth: int) -> str:
        kind = self._random.random()
        if depth == 0 or kind < 0.35:
            return self._leaf()
        if kind < 0.65:
            left, right = self._expression(depth - 1), self._expression(depth - 1)
            comment = self._pick(_COMMENTS)
            return f"{left}{comment} {self._pick(_OPERATORS)} {comment}{right}"
        if kind < 0.72:
            parts = [self._expression(depth - 1) for _ in range(3)]
            return f"(({parts[0]}) ? {parts[1]} : {parts[2]})"
        return self._pick(_FUNCTIONS).format(self._expression(depth - 1))

    def _leaf(self) -> str:
        kind = self._random.random()
        if kind < 0.4:
            return self.string()
        if kind < 0.7:
            return self._pick(_PLAIN)
        name = self._pick([*ENVIRONMENT, "MISSING"])
        constant, variable = self._pick(CONSTANTS), self._pick(VARIABLES)
        return self._pick(
            [
                f"getenv('{name}')",
                f"$_ENV['{name}']",
                f"($_ENV['{name}'] ?? null)",
                f"isset($_SERVER['{name}'])",
                f"defined('{constant}')",
                f"constant('{constant}')",
                constant,
                f"isset(${variable})",
                f"empty(${variable})",
                f"isset($list['{name}'], ${variable})",
            ]
        )

    def _statement(self, depth: int) -> str:
        if depth and self._random.random() < 0.35:
            return self._nested(depth - 1)
        constant, variable = self._pick(CONSTANTS), self._pick(VARIABLES)
        value = self._expression(2)
        return self._pick(
            [
                f"define('{constant}',\n  {value}\n);",
                f'DEFINE ( "{constant}" , {value} , ) ;',
                f"define('{constant}', {value}, true);",
                f"if (!defined('{constant}')) define('{constant}', {value});",
                f"if ( ! defined( '{constant}' ) ) {{ define( '{constant}', {value} ); }}",
                f"defined('{constant}') or define('{constant}', {value});",
                f"defined('{constant}') || define('{constant}', {value});",
                f"${variable} = {value};",
                f"${variable} .= {value};",
                f"${variable} ??= {value};",
                f"$GLOBALS['{variable}'] = {value};",
                f"$list['k'] = {value};",
                f"$list[] = {value};",
                f"$list['deep']['er'] = {value};",
                f"list($a, , $b) = [{value}, 1, {self._leaf()}];",
                f"['k' => $a, 'z' => $b] = ['z' => {value}, 'k' => 2];",
                f"unset(${variable});",
                "unset($list['k']);",
                f"putenv('MISSING=' . ({value}));",
                f"$_ENV['MISSING'] = {value};",
                f"if ({value}) return;",
                f"({value}) and exit;",
                f"?>\n<p>'outside' <?= {value} ?></p>\n<?php ",
                f"/* ; */ # ?\n ${variable} = {value} // it's the end ?>\n<?php ",
                f"${variable}++; --${variable};",
            ]
        )

    def _body(self, depth: int) -> str:
        return "\n".join(self._statement(depth) for _ in range(self._random.randint(1, 2)))

    def _nested(self, depth: int) -> str:
        condition, other = self._expression(1), self._expression(1)
        one, two = self._body(depth), self._body(depth)
        name = f"f{self._random.randint(0, 10**9)}"
        return self._pick(
            [
                f"if ({condition}) {{\n{one}\n}} else {{\n{two}\n}}",
                f"if ({condition}) {{\n{one}\n}} else if ({other}) {{\n{two}\n}}",
                f"if ({condition}):\n{one}\nelseif ({other}):\n{two}\nelse:\n{one}\nendif;",
                f"switch ({condition}) {{ case 'there': {one} break; case 0: {two} default:{one}}}",
                f"switch ({condition}): case 1: {{ {one} }} default: {two} endswitch;",
                f"foreach (['x' => 1, 'y' => {condition}] as $a => $b) {{ {one} }}",
                f"foreach (explode(',', {condition}) as $b): {one} break; endforeach;",
                f"while ({condition}) {{ {one} break; }}",
                f"for ($i = 0; $i < 2; $i++) {{ {one} }}",
                f"do {{ {one} }} while (false);",
                f"try {{ {one} }} catch (Exception | Error $_e) {{ {two} }} finally {{ {two} }}",
                f"(function () {{ {one} }})();",
                f"function {name}($a, $b = 'x') {{ global $table_prefix;{one} return {condition};}}"
                f"\n$b = {name}({other});",
                f"class {name} {{ public $x = 1; function f() {{ {one} }} }}",
            ]
        )

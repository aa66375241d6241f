"""PHP's functions that settings are made with: those that only turn values into values.

A function gets known values and returns one; whatever it raises means "not understood". PHP counts
bytes: functions for which that matters refuse text beyond ASCII.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from workers.engine.php.values import (
    PhpArray,
    Unknown,
    Value,
    key_of,
    loosely_equal,
    same,
    text,
    truth,
)

_SPACE = " \t\n\r\0\x0b"


class NotFollowed(Exception):
    """The call is beyond what is known of the function."""


def call_pure(name: str, arguments: tuple[Value, ...]) -> Value:
    """Return what the function `name`, one of `PURE`, gives.

    `Unknown` with the reason where that cannot be told.
    """
    for argument in arguments:
        if isinstance(argument, Unknown):
            return argument
    try:
        return PURE[name](*arguments)
    except (NotFollowed, TypeError, ValueError, KeyError, IndexError, RecursionError):
        return Unknown(f"{name}() is called in a way that is not followed")


def _text(value: Value) -> str:
    result = text(value)
    if isinstance(result, Unknown):
        raise NotFollowed
    return result


def _ascii(value: Value) -> str:
    result = _text(value)
    if not result.isascii():
        raise NotFollowed
    return result


def _integer(value: Value) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str) and (match := re.match(r"[ \t\n\r\v\f]*([+-]?[0-9]{1,18})", value)):
        if re.match(r"[.eE]", value[match.end() :]):
            raise NotFollowed
        return int(match[1])
    if isinstance(value, str) or value is None:
        return 0
    raise NotFollowed


def _array(value: Value) -> PhpArray:
    if not isinstance(value, dict):
        raise NotFollowed
    return value


def _list(values: list[Value]) -> PhpArray:
    return dict(enumerate(values))


def dirname(path: Value, levels: Value = 1) -> Value:
    """`dirname()`: the parent folder, "." for a bare name, "/" for the root."""
    result = _text(path)
    for _ in range(_integer(levels)):
        if result == "":
            return ""
        stripped = result.rstrip("/")
        if not stripped:
            return "/"
        head, slash, _tail = stripped.rpartition("/")
        result = (head.rstrip("/") or "/") if slash else "."
    return result


def _basename(path: Value, suffix: Value = "") -> Value:
    name = posixpath.basename(_text(path).rstrip("/"))
    ending = _text(suffix)
    return name.removesuffix(ending) if ending and name != ending else name


def _trimmer(left: bool, right: bool) -> Callable[..., Value]:
    def trim(value: Value, characters: Value = _SPACE) -> Value:
        result, unwanted = _text(value), _ascii(characters)
        if ".." in unwanted:
            raise NotFollowed
        if left and unwanted:
            result = result.lstrip(unwanted)
        return result.rstrip(unwanted) if right and unwanted else result

    return trim


def _str_replace(search: Value, replacement: Value, subject: Value) -> Value:
    result = _text(subject)
    searches = list(search.values()) if isinstance(search, dict) else [search]
    if isinstance(replacement, dict):
        replacements = list(replacement.values())[: len(searches)]
        replacements += [""] * (len(searches) - len(replacements))
    else:
        replacements = [replacement] * len(searches)
    for old, new in zip(searches, replacements, strict=True):
        if _text(old):
            result = result.replace(_text(old), _text(new))
    return result


def _substr(value: Value, start: Value, length: Value = None) -> Value:
    characters = _ascii(value)
    begin = _integer(start)
    begin = max(0, len(characters) + begin) if begin < 0 else min(begin, len(characters))
    if length is None:
        return characters[begin:]
    count = _integer(length)
    end = begin + count if count >= 0 else len(characters) + count
    return characters[begin : max(begin, end)]


def _strpos(haystack: Value, needle: Value, offset: Value = 0) -> Value:
    found = _ascii(haystack).find(_text(needle), _integer(offset))
    return False if found < 0 else found


def _sprintf(pattern: Value, *arguments: Value) -> Value:
    remaining = list(arguments)

    def replace(match: re.Match[str]) -> str:
        if match.group() == "%%":
            return "%"
        if match["kind"] is None:
            raise NotFollowed
        value = arguments[int(match["number"]) - 1] if match["number"] else remaining.pop(0)
        return _text(value) if match["kind"] == "s" else str(_integer(value))

    return re.sub(r"%(?:%|(?:(?P<number>[1-9])\$)?(?P<kind>[sd])|)", replace, _text(pattern))


def _implode(glue: Value, pieces: Value = None) -> Value:
    if isinstance(glue, dict):
        glue, pieces = pieces or "", glue
    return _text(glue).join(_text(piece) for piece in _array(pieces).values())


def _explode(separator: Value, value: Value, limit: Value = None) -> Value:
    maximum = -1 if limit is None else _integer(limit) - 1
    if limit is not None and maximum < 0:
        raise NotFollowed
    return _list(list(_text(value).split(_text(separator), maximum)))


_URL_PARTS = ("scheme", "host", "port", "user", "pass", "path", "query", "fragment")


def _parse_url(url: Value, part: Value = -1) -> Value:
    split = urlsplit(_ascii(url))
    if not split.scheme or not split.netloc or "%" in split.netloc.rpartition("@")[2]:
        raise NotFollowed
    user, colon, password = split.netloc.rpartition("@")[0].partition(":")
    host = split.netloc.rpartition("@")[2]
    values: list[str | int | None] = [
        split.scheme,
        re.sub(r":\d*\Z", "", host),
        split.port,
        user if "@" in split.netloc else None,
        password if colon else None,
        split.path or None,
        split.query or None,
        split.fragment or None,
    ]
    if part == -1:
        named = zip(_URL_PARTS, values, strict=True)
        return {name: value for name, value in named if value is not None}
    return values[_integer(part)]


def _json_decode(value: Value, as_array: Value = False, *_options: Value) -> Value:
    if as_array is not True:
        raise NotFollowed
    return _from_json(json.loads(_text(value)))


def _from_json(value: object) -> Value:
    if isinstance(value, dict):
        result: PhpArray = {}
        for name, element in value.items():
            key = key_of(str(name))
            assert not isinstance(key, Unknown)
            result[key] = _from_json(element)
        return result
    if isinstance(value, list):
        return _list([_from_json(element) for element in value])
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise NotFollowed


def _in_array(needle: Value, haystack: Value, strict: Value = False) -> Value:
    for element in _array(haystack).values():
        equal = same(needle, element) if truth(strict) is True else loosely_equal(needle, element)
        if isinstance(equal, Unknown):
            return equal
        if equal:
            return True
    return False


def _array_merge(*arrays: Value) -> Value:
    result: PhpArray = {}
    position = 0
    for array in arrays:
        for key, element in _array(array).items():
            if isinstance(key, int):
                result[position] = element
                position += 1
            else:
                result[key] = element
    return result


PURE: dict[str, Callable[..., Value]] = {
    "dirname": dirname,
    "basename": _basename,
    "trim": _trimmer(True, True),
    "ltrim": _trimmer(True, False),
    "rtrim": _trimmer(False, True),
    "chop": _trimmer(False, True),
    "strtolower": lambda value: _ascii(value).lower(),
    "strtoupper": lambda value: _ascii(value).upper(),
    "ucfirst": lambda value: _ascii(value)[:1].upper() + _ascii(value)[1:],
    "strlen": lambda value: len(_ascii(value)),
    "str_replace": _str_replace,
    "substr": _substr,
    "strpos": _strpos,
    "str_contains": lambda value, needle: _text(needle) in _text(value),
    "str_starts_with": lambda value, needle: _text(value).startswith(_text(needle)),
    "str_ends_with": lambda value, needle: _text(value).endswith(_text(needle)),
    "sprintf": _sprintf,
    "implode": _implode,
    "join": _implode,
    "explode": _explode,
    "intval": lambda value: _integer(value),
    "strval": lambda value: _text(value),
    "is_string": lambda value: isinstance(value, str),
    "is_array": lambda value: isinstance(value, dict),
    "is_null": lambda value: value is None,
    "is_bool": lambda value: isinstance(value, bool),
    "in_array": _in_array,
    "array_key_exists": lambda key, array: key_of(key) in _array(array),
    "count": lambda array: len(_array(array)),
    "array_merge": lambda *arrays: _list([]) if not arrays else _array_merge(*arrays),
    "parse_url": _parse_url,
    "urldecode": lambda value: unquote(_text(value).replace("+", " "), errors="strict"),
    "rawurldecode": lambda value: unquote(_text(value), errors="strict"),
    "base64_decode": lambda value: base64.b64decode(_ascii(value), validate=True).decode("utf-8"),
    "json_decode": _json_decode,
}

# Called for an effect on PHP itself: they define nothing, and what they return is of no use here.
_HARMLESS_NAMES = """
    ini_set ini_get ini_get_all error_reporting set_time_limit date_default_timezone_set header
    header_remove mb_internal_encoding setlocale error_log trigger_error set_error_handler
    set_exception_handler register_shutdown_function ignore_user_abort session_start setcookie
    http_response_code umask clearstatcache extension_loaded class_exists method_exists phpversion
    php_sapi_name php_uname gethostname version_compare is_callable time microtime date rand
    mt_rand random_int random_bytes bin2hex uniqid hash md5 sha1 crc32 filter_var
    array_keys array_values preg_replace preg_match preg_quote preg_split ctype_digit is_numeric
    is_int is_object floatval memory_get_usage gc_enable spl_autoload_register opcache_reset
    mysqli_report ob_start flush printf var_dump print_r filemtime filesize glob scandir strcmp
    strcasecmp stripos strrpos strstr strrchr str_pad str_repeat strtr ucwords number_format round
    floor ceil max min abs array_pop array_shift array_unique array_search array_flip
    array_combine array_slice range gettype serialize htmlspecialchars urlencode rawurlencode
    base64_encode json_encode http_build_query mb_strtolower mb_substr lcfirst str_split strrev
    nl2br addslashes stripslashes substr_count fopen fclose fgets fread parse_ini_file
    parse_ini_string assert func_get_args debug_backtrace apache_setenv get_cfg_var is_writable
    is_link readlink getcwd sys_get_temp_dir file
"""
HARMLESS = frozenset(_HARMLESS_NAMES.split())

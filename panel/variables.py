"""Reads variables out of several mappings, and secrets out of files that variables name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured
from environs import Env


class Variables(Env):
    """Typed variables, each from the first of the layers that has it."""

    def __init__(self, *layers: Mapping[str, str], prefix: str) -> None:
        super().__init__(prefix=prefix)
        self._layers = layers
        self._name_prefix = prefix

    def _get_value(self, env_key: str, default: Any) -> Any:  # noqa: ANN401
        """Look into the layers instead of the process's environment (the library's own hook)."""
        for layer in self._layers:
            if env_key in layer:
                return layer[env_key]
        return default

    def secret(self, name: str, default: str = "") -> str:
        """Return what `NAME` says, or what is in the file that `NAME_FILE` names."""
        key = f"{self._name_prefix}{name}"
        for layer in self._layers:
            value, file = layer.get(key, ""), layer.get(f"{key}_FILE", "")
            if value and file:
                raise ImproperlyConfigured(f"{key} and {key}_FILE are both set: leave one out.")
            if value or file:
                return value or _content(f"{key}_FILE", Path(file))
        return default


def _content(variable: str, path: Path) -> str:
    try:
        content = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{variable} names {path}, which cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:
        raise ImproperlyConfigured(f"{variable} names {path}, which is no text.") from error
    if not content:
        raise ImproperlyConfigured(f"{variable} names {path}, which is empty.")
    return content


def with_password(url: str, password: str) -> str:
    """Return the URL with the password in it, percent-encoded, in the place of none."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    login = f"{user.partition(':')[0]}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


def has_password(url: str) -> bool:
    """Return whether the URL brings a password of its own."""
    return bool(urlsplit(url).password)

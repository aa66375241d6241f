"""What the code that runs now works for: the request, user, site and job of each line it logs.

Values are carried by the thread or task, not by arguments. It is no part of any decision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

# In the order in which a line shows them.
FIELDS = ("request_id", "user", "site", "job", "epoch", "stage")

# A value that is known later only, as who sent a request, is given as a function without arguments.
Value = str | int | None | Callable[[], str | int | None]

_values: ContextVar[Mapping[str, Value]] = ContextVar("log_context", default=MappingProxyType({}))


@contextmanager
def bound(**values: Value) -> Iterator[None]:
    """Let every line that is logged inside carry these values as well."""
    before = _values.get()
    _values.set({**before, **values})
    try:
        yield
    finally:
        # No token: a view that runs in a thread is left in another context than it was entered in.
        _values.set(before)


def request_id() -> str | None:
    """Return the id of the request that is answered now, if one is."""
    found = _values.get().get("request_id")
    return found if isinstance(found, str) else None


def fields(values: Mapping[str, Value] | None = None) -> dict[str, str | int]:
    """Return what is known now, of what is bound or of these values."""
    bound_now = _values.get() if values is None else values
    known = {name: _known(value) for name, value in bound_now.items()}
    return {name: value for name, value in known.items() if value is not None}


def _known(value: Value) -> str | int | None:
    return value() if callable(value) else value


class AddContext(logging.Filter):
    """Puts the values onto each record; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave alone what the line itself has said.

        Django speaks of a request once more when its answer is made: such a line brings it along.
        """
        request = getattr(record, "request", None)
        for name, value in fields(getattr(request, "log_context", None)).items():
            record.__dict__.setdefault(name, value)
        return True

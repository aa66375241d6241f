"""The schema, made by one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

_turn = threading.Lock()


def one_at_a_time(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return the view, which only one thread runs at once.

    drf-spectacular finds its extensions when they are first asked for, and a second thread that
    asks meanwhile meets half of them. Making the schema is also the dearest that anybody may ask.
    """

    @wraps(view)
    def in_turn(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with _turn:
            return view(*args, **kwargs)

    return in_turn

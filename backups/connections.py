"""Database connections of threads that do something long."""

from __future__ import annotations

from django.db import connection


def let_go() -> None:
    """Close this thread's connection, which opens again by itself, unless a transaction needs it.

    An answer that is sent for hours would else hold one for as long.
    """
    if not connection.in_atomic_block:
        connection.close()

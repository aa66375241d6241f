"""Keeps what comes from outside as a path below the folders that a node allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from workers.engine.errors import EngineError


class PathNotAllowed(EngineError):
    """A path leads out of the node's allowed folders."""

    code = "path_not_allowed"


def resolve_roots(allowed_roots: Sequence[Path]) -> tuple[Path, ...]:
    """Return the allowed folders with their own links followed; missing ones are left out."""
    return tuple(root.resolve() for root in allowed_roots if root.is_absolute() and root.is_dir())


def resolve_below(path: Path, allowed_roots: Sequence[Path]) -> Path:
    """Return `path` with every link followed; it lies in or below one of `allowed_roots`.

    The answer holds for the moment only: whoever may write below the root can replace a folder by
    a link afterwards. So readers go on from the path returned here, never from the one given, and
    open what is below it without following links.

    Raises `PathNotAllowed`, permanent, for a path outside the roots. Where the path does not
    exist or its links form a loop, `EngineError` with code `site_not_found` says so, but only
    if it would have been allowed: what exists elsewhere is nobody's business.
    """
    if not path.is_absolute() or "\0" in str(path):
        raise EngineError(
            f"{str(path)!r} is not an absolute path",
            hint="Give the full path of the folder on the node, beginning with a slash.",
            permanent=True,
            code="path_not_allowed",
        )
    # realpath does not fail for what is missing: the place is judged before its existence.
    resolved = Path(os.path.realpath(path))
    if not any(resolved.is_relative_to(root) for root in resolve_roots(allowed_roots)):
        raise PathNotAllowed(
            f"{path} lies outside the folders that this node may read",
            hint=_hint(allowed_roots),
            permanent=True,
        )
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links form a loop"
        raise EngineError(
            f"{path} cannot be reached on this node: {reason}",
            hint="Check the path, and that the worker's user may enter every folder on the way.",
            permanent=True,
            code="site_not_found",
        ) from error


def resolve_new_below(path: Path, allowed_roots: Sequence[Path]) -> Path:
    """Return where `path`, which need not be there yet, would be; as `resolve_below` otherwise.

    What is there of it is followed through its links, and what is missing comes after that.
    Raises `PathNotAllowed`, permanent, for a place outside the roots, and `EngineError` with code
    `site_not_found` for one below what is no folder or a link that leads nowhere.
    """
    if "\0" in str(path):
        return resolve_below(path, allowed_roots)
    there = path
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    missing = path.relative_to(there)
    if ".." in missing.parts:
        raise PathNotAllowed(
            f"{path} leads up from a folder that does not exist",
            hint="Give the path without “..”.",
            permanent=True,
        )
    resolved = resolve_below(there, allowed_roots)
    if missing.parts and not resolved.is_dir():
        raise EngineError(
            f"{path} cannot be reached on this node: {there} is no folder",
            hint="Check the path.",
            permanent=True,
            code="site_not_found",
        )
    return resolved / missing


def _hint(allowed_roots: Sequence[Path]) -> str:
    if not allowed_roots:
        return "The node has no allowed folders yet; add one to its settings."
    listed = ", ".join(str(root) for root in allowed_roots)
    return f"Allowed are paths below {listed}. Add a folder to the node's settings if it is right."

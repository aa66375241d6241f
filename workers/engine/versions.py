"""Which tools made a bundle, for its manifest and for the node's page."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("zstandard", "boto3", "pyrage")


def tool_versions() -> dict[str, str]:
    """Return name → version of what takes part in a backup on this host."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found

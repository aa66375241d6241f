"""How the engine tells whoever started it how far it is, and learns that it must end."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Where progress goes. Cheap to call often: implementations coalesce.

    Every method may be called from the thread that runs the work only. `check` (and `advance`,
    which calls it) raises `StopRequested` or `Fenced` when the attempt must end; work that
    blocks for long calls `check` at least once a second.
    """

    def total(self, bytes_total: int) -> None:
        """Set the expected size of this stage's work in bytes; 0 means unknown."""

    def advance(self, bytes_done: int) -> None:
        """Count `bytes_done` more bytes as processed."""

    def detail(self, text: str) -> None:
        """Show one line about what is happening now."""

    def warn(self, text: str) -> None:
        """Record something a person should know; the job goes on."""

    def check(self) -> None:
        """Raise `StopRequested` or `Fenced` when the attempt must end, else return at once."""


class SilentReporter:
    """Reports to nobody: for scripts, tests and benchmarks. Keeps totals and warnings to see."""

    def __init__(self) -> None:
        self.bytes_total = 0
        self.bytes_done = 0
        self.details: list[str] = []
        self.warnings: list[str] = []

    def total(self, bytes_total: int) -> None:
        """See `Reporter.total`."""
        self.bytes_total = bytes_total

    def advance(self, bytes_done: int) -> None:
        """See `Reporter.advance`."""
        self.bytes_done += bytes_done
        self.check()

    def detail(self, text: str) -> None:
        """See `Reporter.detail`."""
        self.details.append(text)

    def warn(self, text: str) -> None:
        """See `Reporter.warn`."""
        self.warnings.append(text)

    def check(self) -> None:
        """See `Reporter.check`; a silent reporter is never told to end."""

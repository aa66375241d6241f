"""What can go wrong in the engine, said so that a person can act on it."""

from __future__ import annotations


class EngineError(Exception):
    """A failure with a sentence for a person, advice, and whether trying again can help.

    `message` says what failed, `hint` what to do about it; neither ever holds a secret.
    `permanent` is True when the same attempt would fail again until somebody changes something.
    `code` is a stable snake_case word that clients may test for.
    """

    code = "engine_error"

    def __init__(
        self, message: str, *, hint: str = "", permanent: bool = False, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.permanent = permanent
        if code is not None:
            self.code = code

    def sentences(self) -> str:
        """Return message and hint as a person reads them, one after the other."""
        message = self.message if self.message[-1:] in ".!?" else f"{self.message}."
        return f"{message} {self.hint}".strip()


class InterruptedWork(BaseException):
    """The attempt must end now: not a failure of the work, so `except Exception` lets it pass."""


class StopRequested(InterruptedWork):
    """A person asked for this job to stop."""


class Fenced(InterruptedWork):
    """The attempt lost its lease or its epoch: another one owns the job, touch nothing more."""

"""What can go wrong with encrypted bundles. No message ever holds a key."""

from __future__ import annotations

from workers.engine.bundle.container import BundleDamaged
from workers.engine.errors import EngineError


class AgeError(EngineError):
    """A key or a file that cannot be used; trying again would not help."""

    code = "age_error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, permanent=True, code=code)


class RecipientInvalid(AgeError):
    """What should be a public key is none, or one of a kind that is not accepted."""

    code = "age_recipient_invalid"


class IdentityUnusable(AgeError):
    """A file of secret keys cannot be read, is open to others, or holds something else."""

    code = "age_identity_unusable"


class NoIdentity(AgeError):
    """None of the secret keys at hand opens the bundle."""

    code = "age_no_identity"


class AgeDamaged(BundleDamaged):
    """The bytes of an encrypted bundle are not those that were written; subclasses say where."""

    code = "age_damaged"


class HeaderDamaged(AgeDamaged):
    """The head is none that an age program would have written, or was changed since."""

    code = "age_header_damaged"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The head of the encrypted bundle is damaged: {what}",
            hint="The whole bundle depends on it. Is there another copy?",
        )


class Truncated(AgeDamaged):
    """The file ends too early."""

    code = "age_truncated"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The encrypted bundle is cut short: {what}",
            hint="Fetch it again, and compare its size with what the backup recorded.",
        )


class ChunkDamaged(AgeDamaged):
    """A chunk is not what was encrypted."""

    code = "age_chunk_damaged"

    def __init__(self, number: int, offset: int) -> None:
        super().__init__(
            f"Chunk {number} of the encrypted bundle, at byte {offset}, is damaged",
            hint="What lies in other chunks can still be read.",
        )

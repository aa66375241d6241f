"""What the answers of an S3 service, and its silence, mean to a person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import exceptions

from workers.engine.errors import EngineError
from workers.engine.process import mask_secrets

MESSAGE_CHARACTERS = 300


class ObjectMissing(EngineError):
    """There is no object of that key."""

    code = "object_missing"


class UploadMissing(EngineError):
    """The multipart upload is not there: completed, aborted or expired."""

    code = "upload_missing"


class ObjectChanged(EngineError):
    """The object is not the one that it was when it was opened."""

    code = "object_changed"


class PartRefused(EngineError):
    """A part that was to be put together is not what the service has."""

    code = "part_refused"


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: str
    message: str
    hint: str
    permanent: bool = True
    error: type[EngineError] = EngineError


_MISSING_OBJECT = _Meaning(
    "object_missing",
    "there is no such object",
    "It was deleted outside Holdfast, or the storage points somewhere else now.",
    error=ObjectMissing,
)
_REFUSED_KEYS = "Check the access key id and the secret access key in the storage's settings."
_CLOCK = _Meaning(
    "clock_skew",
    "the clocks of this host and of the service differ too much",
    "Set this host's clock: switch on time synchronisation (NTP).",
)
_TOKEN = _Meaning(
    "credentials_expired",
    "the session token is not valid any more",
    "Put fresh temporary credentials, or lasting ones, into the storage's settings.",
)
_BUSY = _Meaning(
    "storage_busy",
    "the service is busy or has a fault",
    "It is tried again later; if it lasts, look at the service's own status.",
    permanent=False,
)
_DAMAGED = _Meaning(
    "damaged_on_the_way",
    "what arrived is not what was sent",
    "It is sent again later; if it lasts, suspect a proxy, the network card or memory.",
    permanent=False,
)
_QUOTA = _Meaning(
    "no_room", "the quota is used up", "Raise the quota, keep fewer backups, or use another bucket."
)
_ENDPOINT = _Meaning(
    "wrong_endpoint",
    "the bucket belongs to another region or endpoint",
    "Check the region, the endpoint and the addressing (path or virtual).",
)
_ENCRYPTION_KEY = _Meaning(
    "encryption_key",
    "the encryption key cannot be used",
    "Check that the key exists, is switched on, is in the bucket's region and may be used.",
)
_NO_UPLOAD = _Meaning(
    "upload_missing",
    "the upload is not there any more",
    "It was aborted by somebody or by a lifecycle rule; it begins again.",
    permanent=False,
    error=UploadMissing,
)
_CHANGED = _Meaning(
    "object_changed",
    "the object changed meanwhile",
    "Something else writes to this bucket below the prefix: find out what.",
    error=ObjectChanged,
)
_PART = _Meaning(
    "part_refused",
    "a part is not what the service has",
    "It is tried again later.",
    permanent=False,
    error=PartRefused,
)

_BY_CODE: Mapping[str, _Meaning] = {
    "NoSuchBucket": _Meaning(
        "bucket_missing",
        "there is no such bucket",
        "Create the bucket, or correct its name, the endpoint or the addressing.",
    ),
    "AccessDenied": _Meaning(
        "access_denied",
        "access was denied",
        "Allow s3:PutObject, GetObject, DeleteObject, ListBucket, AbortMultipartUpload and "
        "ListMultipartUploadParts for these keys, and the KMS key if there is one.",
    ),
    "AllAccessDisabled": _Meaning(
        "access_denied", "access to the account is disabled", "Ask the provider of the storage."
    ),
    "InvalidAccessKeyId": _Meaning("bad_credentials", "the access key is unknown", _REFUSED_KEYS),
    "SignatureDoesNotMatch": _Meaning(
        "bad_credentials", "the secret access key does not fit the access key id", _REFUSED_KEYS
    ),
    "AuthorizationHeaderMalformed": _ENDPOINT,
    "PermanentRedirect": _ENDPOINT,
    "IllegalLocationConstraintException": _ENDPOINT,
    "ExpiredToken": _TOKEN,
    "InvalidToken": _TOKEN,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "QuotaExceeded": _QUOTA,
    "StorageLimitExceeded": _QUOTA,
    "InsufficientStorage": _QUOTA,
    "XMinioStorageFull": _QUOTA,
    "EntityTooLarge": _Meaning(
        "object_too_large",
        "the service takes no object as large as this",
        "Use another service or a local storage.",
    ),
    "InvalidStorageClass": _Meaning(
        "storage_class", "the storage class is unknown there", "Correct or clear the storage class."
    ),
    "InvalidObjectState": _Meaning(
        "object_archived",
        "the object is in an archive class and cannot be read at once",
        "Restore it in the service first, and use a class that answers at once.",
    ),
    "ObjectLockConfigurationNotFoundError": _Meaning(
        "not_configured",
        "it is not set up for this bucket",
        "Object lock is switched on when a bucket is created.",
    ),
    "NotImplemented": _Meaning(
        "not_implemented", "the service does not do this", "Use a service that does."
    ),
    "KMS.NotFoundException": _ENCRYPTION_KEY,
    "KMS.DisabledException": _ENCRYPTION_KEY,
    "KMS.KMSInvalidStateException": _ENCRYPTION_KEY,
    "KMS.AccessDeniedException": _ENCRYPTION_KEY,
    "NoSuchKey": _MISSING_OBJECT,
    "NoSuchUpload": _NO_UPLOAD,
    "InvalidPart": _PART,
    "InvalidPartOrder": _PART,
    "PreconditionFailed": _CHANGED,
    "BadDigest": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
    "XAmzContentChecksumMismatch": _DAMAGED,
    "InvalidDigest": _DAMAGED,
    "IncompleteBody": _DAMAGED,
    "RequestTimeout": _BUSY,
    "SlowDown": _BUSY,
    "Throttling": _BUSY,
    "ThrottlingException": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "TooManyRequests": _BUSY,
    "OperationAborted": _BUSY,
    "ConditionalRequestConflict": _BUSY,
}

# A HEAD has no body and so no code, only a status.
_BY_STATUS: Mapping[int, _Meaning] = {
    301: _ENDPOINT,
    307: _BUSY,
    403: _BY_CODE["AccessDenied"],
    404: _MISSING_OBJECT,
    408: _BUSY,
    412: _CHANGED,
    429: _BUSY,
    507: _QUOTA,
}

_AWAY = "Check the endpoint, the network, the firewall and the service; it is tried again later."
_CERTIFICATE = _Meaning(
    "certificate",
    "its certificate is not trusted",
    "Give the authority that signed it as the CA file or CA certificate, and check the host name.",
)
_BY_EXCEPTION: Sequence[tuple[type[Exception], _Meaning]] = (
    (exceptions.SSLError, _CERTIFICATE),
    (
        exceptions.ConnectTimeoutError,
        _Meaning("storage_unreachable", "connecting to it took too long", _AWAY, permanent=False),
    ),
    (
        exceptions.EndpointConnectionError,
        _Meaning("storage_unreachable", "it cannot be reached", _AWAY, permanent=False),
    ),
    (
        exceptions.ProxyConnectionError,
        _Meaning("storage_unreachable", "the proxy cannot be reached", _AWAY, permanent=False),
    ),
    (
        exceptions.ReadTimeoutError,
        _Meaning("storage_unreachable", "its answer took too long", _AWAY, permanent=False),
    ),
    (
        exceptions.NoCredentialsError,
        _Meaning(
            "bad_credentials",
            "there are no credentials",
            "Fill in both keys, or give the worker's host a role that may use the bucket.",
        ),
    ),
    (
        exceptions.CredentialRetrievalError,
        _Meaning(
            "bad_credentials",
            "the host's own credentials cannot be fetched",
            "Check the role of the worker's host, or fill in both keys.",
            permanent=False,
        ),
    ),
    (
        exceptions.ParamValidationError,
        _Meaning(
            "request_invalid",
            "a value cannot be sent",
            "Check the storage's settings.",
        ),
    ),
)
_BROKEN = _Meaning(
    "storage_unreachable", "the connection broke or the answer made no sense", _AWAY, False
)


@contextlib.contextmanager
def translated(doing: str, secrets: Sequence[str]) -> Iterator[None]:
    """Turn botocore's errors within the block into `EngineError`; `doing` completes "Could not …".

    Neither URLs nor headers are quoted, since they may carry signatures and keys; nor is the
    original exception chained, since its text may, and tracebacks are logged.
    """
    try:
        yield
    except exceptions.ClientError as error:
        raise _from_answer(doing, error.response, secrets) from None
    except exceptions.BotoCoreError as error:
        meaning = next(
            (meaning for kind, meaning in _BY_EXCEPTION if isinstance(error, kind)), _BROKEN
        )
        raise _made(meaning, f"Could not {doing}: {meaning.message}.") from None
    except RecursionError:
        # Botocore asks for the bucket's region by a request that may be redirected as well.
        raise _made(_ENDPOINT, f"Could not {doing}: it redirects without end.") from None


def _from_answer(doing: str, answer: Mapping[str, Any], secrets: Sequence[str]) -> EngineError:
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = str(answer.get("Error", {}).get("Message", ""))
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status) or _of_status(status)
    quoted = mask_secrets(" ".join(said.split()), secrets)[:MESSAGE_CHARACTERS]
    tail = ": ".join(part for part in (code if not code.isdigit() else "", quoted) if part)
    return _made(
        meaning, f"Could not {doing}: {meaning.message} (status {status}{tail and '; '}{tail})."
    )


def _of_status(status: int) -> _Meaning:
    if status >= 500:
        return _BUSY
    return _Meaning(
        "storage_refused",
        "the service refused it",
        "Look the answer up in the service's documentation and check the storage's settings.",
    )


def _made(meaning: _Meaning, message: str) -> EngineError:
    return meaning.error(message, hint=meaning.hint, permanent=meaning.permanent, code=meaning.code)

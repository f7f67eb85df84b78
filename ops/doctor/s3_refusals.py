"""Why a store refuses, in words: from the codes of S3's error answers."""

from __future__ import annotations

from botocore.exceptions import ClientError, EndpointConnectionError

from storage.errors import ObjectNotFound, StorageError, StorageUnavailable
from storage.settings import StorageSettings

_KEYS = "Set IMAGEMILL_S3_ACCESS_KEY_ID and IMAGEMILL_S3_SECRET_ACCESS_KEY to keys that the store knows."

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CODES = {
    "InvalidAccessKeyId": ("it does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret does not belong to the access key", _KEYS),
    "AccessDenied": (
        "these keys may not do it",
        "Let them s3:ListBucket on the bucket, and s3:PutObject, GetObject and DeleteObject on all that is in it.",
    ),
    "RequestTimeTooSkewed": (
        "this machine's clock is more than 15 min off",
        "Let this machine set its clock by NTP (chrony, systemd-timesyncd).",
    ),
    "NoSuchBucket": ("there is no such bucket", "Make the bucket, or set IMAGEMILL_S3_BUCKET to one that is there."),
    "QuotaExceeded": ("its quota is used up", "Give the bucket more room, or delete old images."),
}
_CODES["403"] = _CODES["AccessDenied"]
_CODES["Forbidden"] = _CODES["AccessDenied"]


def explain(exc: StorageError, settings: StorageSettings) -> tuple[str, str]:
    """What happened, and what to do about it."""
    where = f"{settings.bucket} at {settings.endpoint_url or 'Amazon'}"
    code = code_of(exc)
    if code in _CODES:
        reason, advice = _CODES[code]
        return f"{where} refuses ({code}): {reason}", advice
    if isinstance(exc, ObjectNotFound):
        return (
            f"{where}: there is no such bucket",
            "Make the bucket, or start a worker, which makes it where its keys may.",
        )
    if isinstance(exc, StorageUnavailable) and not code:
        advice = "Start it (`make up` starts a local one), or set IMAGEMILL_S3_ENDPOINT_URL to where it is."
        cause = exc.__cause__  # The commonest says no more than that it did not answer, with the address once more.
        return f"{where} does not answer" + ("" if isinstance(cause, EndpointConnectionError) else f": {cause}"), advice
    advice = "Look into the store's log; other clients of the same keys will tell whether it is the store."
    return str(exc), advice


def code_of(exc: StorageError) -> str:
    """S3's code of an error; empty where the store did not answer."""
    cause = exc.__cause__
    return str(cause.response["Error"].get("Code", "")) if isinstance(cause, ClientError) else ""

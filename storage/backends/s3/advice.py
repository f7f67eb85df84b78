"""Why a store refuses, in words: from the codes of S3's error answers. And what its links are to stand."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from botocore.exceptions import EndpointConnectionError

from storage.advice import Advice
from storage.backends.s3.connection import code_of
from storage.backends.s3.settings import S3Settings
from storage.errors import ObjectNotFound, StorageError, StorageUnavailable

_SIGNATURE = "X-Amz-Signature"
_KEYS = "Set IMAGEMILL_S3_ACCESS_KEY_ID and IMAGEMILL_S3_SECRET_ACCESS_KEY to keys that the store knows."

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_CODES = {
    "InvalidAccessKeyId": ("it does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret does not belong to the access key", _KEYS),
    "AccessDenied": (
        "these keys may not do it",
        "Allow s3:ListBucket on the bucket, and s3:PutObject, GetObject and DeleteObject on its objects.",
    ),
    "RequestTimeTooSkewed": (
        "this machine's clock is more than 15 min off",
        "Set this machine's clock by NTP (chrony, systemd-timesyncd).",
    ),
    "NoSuchBucket": ("there is no such bucket", "Create the bucket, or set IMAGEMILL_S3_BUCKET to an existing one."),
    "QuotaExceeded": ("its quota is used up", "Give the bucket more room, or delete old images."),
}
_CODES["403"] = _CODES["AccessDenied"]
_CODES["Forbidden"] = _CODES["AccessDenied"]


class S3Advice(Advice):
    """Of a store that speaks S3."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings

    def explain(self, exc: StorageError) -> tuple[str, str]:
        """What happened, and what to do about it."""
        where = f"{self._settings.bucket} at {self._settings.endpoint_url or 'Amazon'}"
        code = code_of(exc)
        if code in _CODES:
            reason, advice = _CODES[code]
            return f"{where} refuses ({code}): {reason}", advice
        if isinstance(exc, ObjectNotFound):
            return (
                f"{where}: there is no such bucket",
                "Create the bucket, or start a worker: it creates the bucket if its keys allow it.",
            )
        if isinstance(exc, StorageUnavailable) and not code:
            cause = exc.__cause__  # The commonest says no more than that it did not answer, with the address once more.
            why = "" if isinstance(cause, EndpointConnectionError) else f": {cause}"
            advice = "Start it (`make up` starts a local one), or set IMAGEMILL_S3_ENDPOINT_URL to its address."
            return f"{where} does not answer{why}", advice
        advice = "Check the store's log; try another client with the same keys to see whether the store is the cause."
        return str(exc), advice

    def of_dead_links(self) -> tuple[bool, str]:
        """They may answer callers where they name an address of their own."""
        name = self._settings.variable("public_endpoint_url")
        if self._settings.public_endpoint_url:
            return True, f"Check {name}. If callers can reach it and only this machine cannot, nothing is wrong."
        return False, f"Set {name} to an address of the store that callers can reach."

    def alter(self, link: str) -> str:
        """The same link with another signature of the same form."""
        parts = urlsplit(link)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        signature = query[_SIGNATURE]
        query[_SIGNATURE] = signature[:-1] + ("0" if signature[-1] != "0" else "1")
        return urlunsplit(parts._replace(query=urlencode(query)))

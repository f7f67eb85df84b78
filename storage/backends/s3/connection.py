"""boto3's client as every part of Imagemill uses it, and boto3's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.handlers import add_expect_header

from storage.backends.s3.settings import S3Settings
from storage.errors import NotSupported, ObjectNotFound, StorageMisconfigured, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECTIONS = 64  # kept open; botocore's 10 have jobs that end together connect anew, with TLS, for each object
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_ATTEMPTS = 4
_MISSING = ("NoSuchKey", "404", "NotFound")
_TRANSIENT = (
    *("NoSuchUpload",),  # Somebody has dropped it: it may be sent again, as another one.
    *("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "RequestTimeTooSkewed", "OperationAborted"),
    *("Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"),
)
_TRANSIENT_STATUSES = (408, 425, 429)  # RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4
_UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed")


def connect(settings: S3Settings, endpoint_url: str) -> S3Client:
    """
    A client of the store at an address; empty for Amazon's.

    Raises:
        ValueError, BotoCoreError: A setting cannot work; `map_errors` turns them into ours.
    """
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint_url or None,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        region_name=settings.region,
        config=Config(
            signature_version="s3v4",  # Presigned links are made with version 2 otherwise.
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            max_pool_connections=_CONNECTIONS,
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            # Other stores than Amazon's do not all know the newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=f"imagemill boto3/{boto3.__version__}",  # The usual one is put together anew for each request.
        ),
    )
    # "Expect: 100-continue" asks before each upload whether it may come: a round trip more for files this small, whose
    # answer botocore reads byte by byte.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def name_of(settings: S3Settings) -> str:
    """The store, for a sentence."""
    return f"S3 at {settings.endpoint_url or 'Amazon'}"


@contextmanager
def map_errors(settings: S3Settings, key: str | None = None) -> Iterator[None]:
    """
    Turn boto3's errors into ours.

    Args:
        settings: Of the store.
        key: The object that is asked for; None where it is the bucket.

    Raises:
        ObjectNotFound, NotSupported, StorageUnavailable, StorageMisconfigured
    """
    where = name_of(settings)
    try:
        yield
    except ClientError as exc:
        code = exc.response["Error"].get("Code", "")
        status = exc.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        if code == "NoSuchBucket" and key is not None:
            raise StorageMisconfigured(f"{where} has no bucket {settings.bucket!r}") from exc
        if code in (*_MISSING, "NoSuchBucket"):
            what = f"{key!r} in bucket {settings.bucket!r}" if key is not None else f"bucket {settings.bucket!r}"
            raise ObjectNotFound(f"{where} has no {what}") from exc
        if code in _UNKNOWN_CALL or status == 501:
            raise NotSupported(f"{where} cannot do that: {exc}") from exc
        if status >= 500 or status in _TRANSIENT_STATUSES or code in _TRANSIENT:
            raise StorageUnavailable(f"{where} fails: {exc}") from exc
        raise StorageMisconfigured(
            f"{where} refuses ({exc}). Check IMAGEMILL_S3_ACCESS_KEY_ID, IMAGEMILL_S3_SECRET_ACCESS_KEY "
            f"and the bucket {settings.bucket!r}."
        ) from exc
    except (NoCredentialsError, PartialCredentialsError, ParamValidationError, ValueError) as exc:
        raise StorageMisconfigured(f"{where} cannot be used: {exc}. Check the IMAGEMILL_S3_* settings.") from exc
    except BotoCoreError as exc:
        raise StorageUnavailable(
            f"{where} does not answer ({exc}). Start it (`make up` starts a local one), "
            "or set IMAGEMILL_S3_ENDPOINT_URL to where it is."
        ) from exc


def code_of(exc: Exception) -> str:
    """S3's own code of an error of ours; empty where the store did not answer."""
    cause = exc.__cause__
    return str(cause.response["Error"].get("Code", "")) if isinstance(cause, ClientError) else ""

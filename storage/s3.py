"""The store itself: put, get, link and delete objects, with boto3's errors as ours."""

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

from storage.errors import ObjectNotFound, StorageMisconfigured, StorageUnavailable
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_ATTEMPTS = 4
_MISSING = ("NoSuchKey", "404", "NotFound")
_TRANSIENT = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "RequestTimeTooSkewed")


class ImageStore:
    """One bucket. Safe to use from many threads, as boto3's clients are."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        with self._map_errors("bucket"):
            self._s3 = _client(settings, settings.endpoint_url)
            self._links = _client(settings, settings.public_endpoint_url or settings.endpoint_url)

    def prepare(self) -> None:
        """
        Make sure that the bucket is there and may be used; makes it where it is missing and that is allowed.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        try:
            with self._map_errors("bucket"):
                self._s3.head_bucket(Bucket=self.settings.bucket)
        except ObjectNotFound:
            with self._map_errors("bucket"):
                self._s3.create_bucket(Bucket=self.settings.bucket)

    def check(self) -> None:
        """
        Ask whether the bucket is there and may be used.

        Raises:
            ObjectNotFound: There is no such bucket.
            StorageUnavailable, StorageMisconfigured
        """
        with self._map_errors("bucket"):
            self._s3.head_bucket(Bucket=self.settings.bucket)

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """
        Store an object.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        with self._map_errors(key):
            self._s3.put_object(Bucket=self.settings.bucket, Key=key, Body=body, ContentType=content_type)

    def get(self, key: str) -> bytes:
        """
        Read an object.

        Raises:
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        with self._map_errors(key):
            return self._s3.get_object(Bucket=self.settings.bucket, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        """
        Take an object away; one that is not there is no error.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        try:
            with self._map_errors(key):
                self._s3.delete_object(Bucket=self.settings.bucket, Key=key)
        except ObjectNotFound:  # Amazon's store says nothing of it, others do.
            return

    def link(self, key: str, content_type: str, expiry_s: int | None = None) -> str:
        """A presigned URL (Signature Version 4) that anybody may GET until it expires, in seconds."""
        return self._links.generate_presigned_url(
            "get_object",
            # Not every store remembers the type, so the link itself asks for it.
            Params={"Bucket": self.settings.bucket, "Key": key, "ResponseContentType": content_type},
            ExpiresIn=self.settings.link_expiry_s if expiry_s is None else expiry_s,
        )

    @contextmanager
    def _map_errors(self, key: str) -> Iterator[None]:
        where = f"S3 at {self.settings.endpoint_url or 'Amazon'}"
        try:
            yield
        except ClientError as exc:
            code = exc.response["Error"].get("Code", "")
            status = exc.response["ResponseMetadata"].get("HTTPStatusCode", 0)
            if code == "NoSuchBucket" and key != "bucket":
                raise StorageMisconfigured(f"{where} has no bucket {self.settings.bucket!r}") from exc
            if code in (*_MISSING, "NoSuchBucket"):
                raise ObjectNotFound(f"{where} has no {key!r} in bucket {self.settings.bucket!r}") from exc
            if status >= 500 or code in _TRANSIENT:
                raise StorageUnavailable(f"{where} fails for now: {exc}") from exc
            raise StorageMisconfigured(
                f"{where} refuses ({exc}). Check IMAGEMILL_S3_ACCESS_KEY_ID, IMAGEMILL_S3_SECRET_ACCESS_KEY "
                f"and the bucket {self.settings.bucket!r}."
            ) from exc
        except (NoCredentialsError, PartialCredentialsError, ParamValidationError, ValueError) as exc:
            raise StorageMisconfigured(f"{where} cannot be used: {exc}. Check the IMAGEMILL_S3_* settings.") from exc
        except BotoCoreError as exc:
            raise StorageUnavailable(
                f"{where} does not answer ({exc}). Start it (`make up` starts a local one), "
                "or set IMAGEMILL_S3_ENDPOINT_URL to where it is."
            ) from exc


def _client(settings: StorageSettings, endpoint_url: str) -> S3Client:
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint_url or None,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        region_name=settings.region,
        config=Config(
            signature_version="s3v4",  # Presigned links are made with version 2 otherwise.
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            # Other stores than Amazon's do not all know the newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=f"imagemill boto3/{boto3.__version__}",  # The usual one is put together anew for each request.
        ),
    )
    # "Expect: 100-continue" asks before each upload whether it may come: a round trip more, for files this small.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client

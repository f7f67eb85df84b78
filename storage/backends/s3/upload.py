"""An object that comes in pieces: S3's upload in several parts, or one request where it is small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import structlog

from storage.backends.s3.connection import map_errors
from storage.backends.s3.settings import S3Settings
from storage.errors import NotSupported, ObjectNotFound, StorageError, StorageMisconfigured
from storage.store import PART_BYTES, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = structlog.get_logger()


class S3Upload(Upload):
    """
    One upload, by one thread at a time. Holds at most one part in memory.

    Of S3's parts all but the last have the same size, as R2 asks, and at least 5 MiB, as Amazon does.
    """

    def __init__(self, client: S3Client, settings: S3Settings, key: str, content_type: str) -> None:
        self._s3, self._settings = client, settings
        self._key, self._content_type = key, content_type
        self._id: str | None = None  # Of the upload in parts; None as long as one request may do.
        self._sent: list[CompletedPartTypeDef] = []
        # One for all parts: made anew for each, it leaves holes in the memory of the process that nothing else fills.
        self._part = bytearray(PART_BYTES)
        self._filled = 0

    def write(self, piece: bytes) -> None:
        """As `Upload` says."""
        rest = memoryview(piece)
        while rest:
            if self._filled == PART_BYTES:
                self._send_part()
            taken = min(len(rest), PART_BYTES - self._filled)
            self._part[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]

    def finish(self) -> None:
        """As `Upload` says."""
        if self._id is None:
            with self._explained():
                self._s3.put_object(
                    Bucket=self._settings.bucket, Key=self._key, Body=self._body, ContentType=self._content_type
                )
            return
        self._send_part()
        with self._explained():
            self._s3.complete_multipart_upload(
                Bucket=self._settings.bucket,
                Key=self._key,
                UploadId=self._id,
                MultipartUpload={"Parts": self._sent},
            )

    def abort(self) -> None:
        """Take the parts back that were sent. Why it is aborted counts more than what fails here."""
        if self._id is None:
            return
        try:
            with suppress(ObjectNotFound), map_errors(self._settings, self._key):
                self._s3.abort_multipart_upload(Bucket=self._settings.bucket, Key=self._key, UploadId=self._id)
        except StorageError as exc:
            log.warning("parts of an upload stay in the store", key=self._key, reason=str(exc))

    def _send_part(self) -> None:
        with self._explained():
            if self._id is None:
                self._id = self._s3.create_multipart_upload(
                    Bucket=self._settings.bucket, Key=self._key, ContentType=self._content_type
                )["UploadId"]
            number = len(self._sent) + 1
            answer = self._s3.upload_part(
                Bucket=self._settings.bucket,
                Key=self._key,
                UploadId=self._id,
                PartNumber=number,
                Body=self._body,
            )
        self._sent.append({"ETag": answer["ETag"], "PartNumber": number})
        self._filled = 0

    @property
    def _body(self) -> bytes:
        del self._part[self._filled :]  # Of the last one; the others are full.
        return cast("bytes", self._part)  # botocore takes it as it is, and bytes would be a copy.

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with map_errors(self._settings, self._key):
                yield
        except (ObjectNotFound, NotSupported) as exc:  # Said of a PUT, it is the address that is wrong, or the store.
            raise StorageMisconfigured(str(exc)) from exc.__cause__

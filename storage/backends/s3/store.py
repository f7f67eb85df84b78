"""The store itself: put, get, list, link and delete objects of a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from storage.advice import Advice
from storage.backends.s3.advice import S3Advice
from storage.backends.s3.connection import code_of, connect, map_errors, name_of
from storage.backends.s3.rules import LifecycleRules
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.upload import S3Upload
from storage.errors import NotSupported, ObjectNotFound, ObjectTooLarge, StorageMisconfigured
from storage.store import Store, StoredObject, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CreateBucketConfigurationTypeDef

_DELETED_AT_ONCE = 1_000  # S3 takes no more
_PIECE_BYTES = 1 << 20
_ANOTHER_CONTENT = ("PreconditionFailed", "412")


class S3Store(Store):
    """
    One bucket. Safe to use from many threads, as boto3's clients are.

    Attributes:
        rules: The bucket's lifecycle rules.
    """

    label = "S3"
    place = "bucket"
    settings_class = S3Settings
    settings: S3Settings

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        with map_errors(settings):
            self._s3 = connect(settings, settings.endpoint_url)
            self._links = connect(settings, settings.public_endpoint_url or settings.endpoint_url)
        self.rules = LifecycleRules(self._s3, settings)

    @property
    def name(self) -> str:
        """The store, for a sentence."""
        return name_of(self.settings)

    @property
    def where(self) -> str:
        """The bucket, and our prefix in it."""
        return f"{self.settings.bucket}/{self.settings.prefix.strip('/')}".rstrip("/")

    @property
    def advice(self) -> Advice:
        """By the codes of S3's answers."""
        return S3Advice(self.settings)

    def prepare(self) -> None:
        """
        Make sure that the bucket is there and may be used; makes it where it is missing and that is allowed.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        try:
            self.check()
        except ObjectNotFound:
            self._make_bucket()

    def check(self) -> None:
        """
        Ask whether the bucket is there and may be used.

        Raises:
            ObjectNotFound: There is no such bucket.
            StorageUnavailable, StorageMisconfigured
        """
        with map_errors(self.settings):
            self._s3.head_bucket(Bucket=self.settings.bucket)

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """
        Store an object.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        try:
            with map_errors(self.settings, key):
                self._s3.put_object(Bucket=self.settings.bucket, Key=key, Body=body, ContentType=content_type)
        except (ObjectNotFound, NotSupported) as exc:  # Said of a PUT, it is the address that is wrong, or the store.
            raise StorageMisconfigured(str(exc)) from exc.__cause__

    def upload(self, key: str, content_type: str) -> Upload:
        """As `Store` says, by an upload in several parts."""
        return S3Upload(self._s3, self.settings, key, content_type)

    def drop_uploads(self, prefix: str) -> int:
        """As `Store` says."""
        bucket, count = self.settings.bucket, 0
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
        # rclone (1.75) has none to list in a bucket where there never was any; and one may end meanwhile.
        with map_errors(self.settings, prefix), suppress(self._s3.exceptions.NoSuchUpload):
            for each in (each for page in pages for each in page.get("Uploads", ())):
                self._s3.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
                count += 1
        return count

    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """
        Read an object.

        Raises:
            ObjectTooLarge: It has more than `max_bytes`; it is not read then.
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        with map_errors(self.settings, key):
            answer = self._s3.get_object(Bucket=self.settings.bucket, Key=key)
            with closing(answer["Body"]) as body:
                if max_bytes is not None and answer["ContentLength"] > max_bytes:
                    raise ObjectTooLarge(f"{key!r} has {answer['ContentLength']} bytes, more than {max_bytes}")
                return body.read()

    def pieces(self, key: str, start: int = 0, etag: str = "") -> Iterator[bytes]:
        """As `Store` says, with a connection of its own for as long as it is read."""
        asked: dict[str, Any] = {"Bucket": self.settings.bucket, "Key": key}
        if start:
            asked["Range"] = f"bytes={start}-"
        if etag:
            asked["IfMatch"] = f'"{etag}"'
        changed = ObjectNotFound(f"{key!r} in bucket {self.settings.bucket!r} has changed meanwhile")
        try:
            with map_errors(self.settings, key):
                answer = self._s3.get_object(**asked)
                with closing(answer["Body"]) as body:
                    if etag and answer["ETag"].strip('"') != etag:  # Not every store minds IfMatch.
                        raise changed
                    yield from body.iter_chunks(_PIECE_BYTES)
        except StorageMisconfigured as exc:
            if code_of(exc) in _ANOTHER_CONTENT:
                raise changed from exc
            raise

    def other_place(self, place: str) -> Store:
        """Another bucket."""
        return S3Store(self.settings.model_copy(update={"bucket": place, "prefix": ""}))

    def size(self, key: str) -> int:
        """
        How many bytes an object has, without reading it.

        Raises:
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        with map_errors(self.settings, key):
            return self._s3.head_object(Bucket=self.settings.bucket, Key=key)["ContentLength"]

    def delete(self, key: str) -> None:
        """
        Take an object away; one that is not there is no error.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        try:
            with map_errors(self.settings, key):
                self._s3.delete_object(Bucket=self.settings.bucket, Key=key)
        except ObjectNotFound:  # Amazon's store says nothing of it, others do.
            return

    def link(self, key: str, content_type: str, expiry_s: int | None = None) -> str:
        """
        A presigned URL (Signature Version 4) that anybody may GET until it expires, in seconds.

        Raises:
            StorageMisconfigured: There are no keys to sign it with.
        """
        with map_errors(self.settings, key):
            return self._links.generate_presigned_url(
                "get_object",
                # Not every store remembers the type, so the link itself asks for it.
                Params={"Bucket": self.settings.bucket, "Key": key, "ResponseContentType": content_type},
                ExpiresIn=self.settings.link_expiry_s if expiry_s is None else expiry_s,
            )

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        """
        List objects in the order of their keys (of their bytes in UTF-8), as they are when their page is fetched.

        Args:
            prefix: What their keys begin with.
            after: Only those whose keys come behind this one.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        query: dict[str, Any] = {"Bucket": self.settings.bucket, "Prefix": prefix}
        if after:
            query["StartAfter"] = after
        with map_errors(self.settings, prefix):
            for page in self._s3.get_paginator("list_objects_v2").paginate(**query):
                for each in page.get("Contents", ()):
                    if each["Key"] > after:  # Not every store minds StartAfter.
                        modified_at = each["LastModified"].timestamp()
                        etag = each.get("ETag", "").strip('"')
                        yield StoredObject(key=each["Key"], size_bytes=each["Size"], modified_at=modified_at, etag=etag)

    def delete_many(self, keys: Sequence[str]) -> None:
        """
        Take objects away, a thousand in one request; those that are not there are no error.

        Raises:
            StorageUnavailable
            StorageMisconfigured: It refuses some of them; the others are gone.
        """
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            some = keys[start : start + _DELETED_AT_ONCE]
            with map_errors(self.settings, some[0]):
                answer = self._s3.delete_objects(
                    Bucket=self.settings.bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            if refused := [each for each in answer.get("Errors", ()) if each.get("Code") != "NoSuchKey"]:
                first = refused[0]
                raise StorageMisconfigured(
                    f"{name_of(self.settings)} refuses to delete {len(refused)} of {len(some)} objects, "
                    f"{first.get('Key')!r} among them ({first.get('Code')}). Let these keys s3:DeleteObject."
                )

    def retention_rule(self) -> int | None:
        """As `Store` says; of the bucket's lifecycle rules, ours."""
        rule = self.rules.find()
        return rule["Expiration"]["Days"] if rule else None

    def expiry_days(self, key: str) -> int | None:
        """As `Store` says; of the bucket's lifecycle rules, any."""
        return self.rules.days_of(key)

    def set_retention_rule(self, days: int, *, whole_place: bool = False) -> None:
        """As `Store` says, by a lifecycle rule."""
        self.rules.apply(days, whole_bucket=whole_place)

    def remove_retention_rule(self) -> bool:
        """As `Store` says."""
        return self.rules.remove()

    def _make_bucket(self) -> None:
        settings = self.settings
        options: dict[str, Any] = {}
        if not settings.endpoint_url and settings.region != "us-east-1":  # Amazon requires the region.
            where: CreateBucketConfigurationTypeDef = {"LocationConstraint": settings.region}  # type: ignore[typeddict-item]
            options["CreateBucketConfiguration"] = where
        try:
            with map_errors(settings):
                self._s3.create_bucket(Bucket=settings.bucket, **options)
        except StorageMisconfigured as exc:
            try:
                self.check()  # Another process may have made it meanwhile.
            except ObjectNotFound:
                raise StorageMisconfigured(
                    f"{name_of(settings)} has no bucket {settings.bucket!r}, and these keys may not make one "
                    f"({code_of(exc)}). Make it, or set IMAGEMILL_S3_BUCKET to one that is there."
                ) from exc.__cause__

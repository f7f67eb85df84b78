"""The settings of a store that speaks S3: `IMAGEMILL_S3_*`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from storage.settings import StorageSettings


class S3Settings(StorageSettings):
    """
    An S3-compatible store. The defaults are those of the local stack.

    Attributes:
        endpoint_url: Empty for Amazon S3 itself.
        access_key_id, secret_access_key: Both empty to use boto3's own chain (instance role, profile, AWS_* variables).
        public_endpoint_url: Address that presigned links name, where callers reach the store by another one.
        link_expiry_s: How long a presigned link works; S3 allows seven days at most.
    """

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_S3_")

    backend: ClassVar[str] = "s3"

    endpoint_url: str = "http://127.0.0.1:9390"
    access_key_id: str = "imagemill"
    secret_access_key: str = "imagemill-local"  # noqa: S105 - of the local stack, which listens on loopback
    bucket: Annotated[str, Field(min_length=3, max_length=63)] = "imagemill"
    region: str = "us-east-1"
    public_endpoint_url: str = ""
    link_expiry_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 24 * 3600

"""The settings of a store that speaks S3: `IMAGEMILL_S3_*`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from storage.settings import StorageSettings


class S3Settings(StorageSettings):
    """An S3-compatible store. The defaults are those of the local stack."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_S3_")

    backend: ClassVar[str] = "s3"

    endpoint_url: str = "http://127.0.0.1:9390"
    """Where it is; empty for Amazon S3 itself."""
    access_key_id: str = "imagemill"
    """Both empty to use boto3's own chain (instance role, profile, AWS_* variables)."""
    secret_access_key: str = "imagemill-local"  # noqa: S105 - of the local stack, which listens on loopback
    """Both empty to use boto3's own chain (instance role, profile, AWS_* variables)."""
    bucket: Annotated[str, Field(min_length=3, max_length=63)] = "imagemill"
    """Where the images go; it is made where it is missing and may be made."""
    region: str = "us-east-1"
    """Of Amazon, or whatever the store calls its own."""
    public_endpoint_url: str = ""
    """Address that presigned links name, where callers reach the store by another one."""
    link_expiry_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 24 * 3600
    """How many seconds a presigned link works; S3 allows seven days at most."""

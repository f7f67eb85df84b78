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
    """URL of the store; empty for Amazon S3."""
    access_key_id: str = "imagemill"
    """Both empty to use boto3's own chain (instance role, profile, AWS_* variables)."""
    secret_access_key: str = "imagemill-local"  # noqa: S105 - of the local stack, which listens on loopback
    """Both empty to use boto3's own chain (instance role, profile, AWS_* variables)."""
    bucket: Annotated[str, Field(min_length=3, max_length=63)] = "imagemill"
    """Bucket for the images; it is created if it is missing and the keys allow it."""
    region: str = "us-east-1"
    """Region of Amazon, or of the store."""
    public_endpoint_url: str = ""
    """URL in presigned links, if callers reach the store at another address."""
    link_expiry_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 24 * 3600
    """How many seconds a presigned link works; S3 allows seven days at most."""

"""
Where images are stored, read once from `IMAGEMILL_S3_*` environment variables.

As in `jobs.process.settings`, a file `imagemill_s3_secret_access_key` in `/run/secrets` or `$CREDENTIALS_DIRECTORY`
does, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.errors import StorageMisconfigured
from storage.kubernetes import is_service_variable


class StorageSettings(BaseSettings):
    """
    An S3-compatible store. The defaults are those of the local stack.

    Attributes:
        endpoint_url: Empty for Amazon S3 itself.
        access_key_id, secret_access_key: Both empty to use boto3's own chain (instance role, profile, AWS_* variables).
        public_endpoint_url: Address that presigned links name, where callers reach the store by another one.
        prefix: In front of every key.
        link_expiry_s: How long a presigned link works; S3 allows seven days at most.
        retention_days: How long images are kept, counted from their upload; unset for good.
    """

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_S3_", frozen=True, extra="ignore")

    endpoint_url: str = "http://127.0.0.1:9390"
    access_key_id: str = "imagemill"
    secret_access_key: str = "imagemill-local"  # noqa: S105 - of the local stack, which listens on loopback
    bucket: Annotated[str, Field(min_length=3, max_length=63)] = "imagemill"
    region: str = "us-east-1"
    public_endpoint_url: str = ""
    prefix: str = ""
    link_expiry_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 24 * 3600
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None


def load_storage_settings() -> StorageSettings:
    """
    Read the settings from the environment.

    Raises:
        StorageMisconfigured: A value is out of bounds, or an `IMAGEMILL_S3_*` name is unknown.
    """
    prefix = "IMAGEMILL_S3_"
    known = {f"{prefix}{name}".upper() for name in StorageSettings.model_fields}
    try:
        secrets = _secrets_folder()
        own = (name for name, value in os.environ.items() if not is_service_variable(name, value))
        names = (*own, *(file.name.upper() for file in (secrets.iterdir() if secrets else ())))
        if unknown := sorted(name for name in names if name.startswith(prefix) and name not in known):
            raise StorageMisconfigured(f"{unknown[0]}: no such setting; known are {', '.join(sorted(known))}")
        return StorageSettings(_secrets_dir=secrets)
    except OSError as exc:
        raise StorageMisconfigured(f"a file of settings cannot be read: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        field = "_".join(str(part) for part in first["loc"])
        raise StorageMisconfigured(f"{prefix}{field.upper()}: {first['msg']}") from exc


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))
    return folder if folder.is_dir() else None

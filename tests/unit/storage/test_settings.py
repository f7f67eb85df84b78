"""The store's settings, as far as they may be files: keys should stand in no environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.backends.s3.settings import S3Settings
from storage.errors import StorageMisconfigured
from storage.settings import read_settings


def test_keys_are_read_from_files_of_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imagemill_s3_access_key_id").write_text("somebody\n")
    (tmp_path / "imagemill_s3_secret_access_key").write_text("secret\n")
    (tmp_path / "imagemill_redis_url").write_text("of another room")
    settings = read_settings(S3Settings)
    assert (settings.access_key_id, settings.secret_access_key) == ("somebody", "secret")
    monkeypatch.setenv("IMAGEMILL_S3_ACCESS_KEY_ID", "another")
    assert read_settings(S3Settings).access_key_id == "another"


def test_unknown_file_of_secrets_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imagemill_s3_secret_key").write_text("secret")
    with pytest.raises(StorageMisconfigured, match=r"^IMAGEMILL_S3_SECRET_KEY: unknown setting"):
        read_settings(S3Settings)

"""Settings come from the environment once, and nothing in it is misread in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import InvalidConfiguration
from jobs.process.settings import Settings, load_settings


def test_an_empty_environment_gives_the_local_stack() -> None:
    assert load_settings() == Settings()
    assert load_settings().models_file.is_file()


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", "redis://elsewhere:6379/3")
    monkeypatch.setenv("IMAGEMILL_RELEASE_WINDOW", "12")
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path))
    settings = load_settings()
    assert settings.redis_url == "redis://elsewhere:6379/3"
    assert settings.release_window == 12
    assert settings.models_file == tmp_path


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_RELEASE_WINDOW", "12")
    assert load_settings(release_window=13).release_window == 13


def test_unknown_name_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_ULR", "redis://elsewhere:6379/0")
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_REDIS_ULR: .*IMAGEMILL_REDIS_URL"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEMILL_RELEASE_WINDOW", "0"),
        ("IMAGEMILL_RELEASE_WINDOW", "100001"),
        ("IMAGEMILL_RELEASE_WINDOW", "many"),
        ("IMAGEMILL_LEASE_S", "0"),
        ("IMAGEMILL_LEASE_S", "nan"),
        ("IMAGEMILL_LEASE_S", "inf"),
        ("IMAGEMILL_RETENTION_S", "59"),
        ("IMAGEMILL_RETENTION_S", ""),
        ("IMAGEMILL_REDIS_URL", "localhost:6379"),
        ("IMAGEMILL_REDIS_URL", "http://localhost:6379"),
    ],
)
def test_value_out_of_bounds_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfiguration, match=rf"^{name}: "):
        load_settings()


@pytest.mark.parametrize(
    "name",
    [
        "IMAGEMILL_S3_BUCKET",
        "IMAGEMILL_STORAGE",
        "IMAGEMILL_STORAGE_SOME_PATH",
        "IMAGEMILL_WORKER_DEVICE",
        "IMAGEMILL_STACK_REDIS_PORT",
    ],
)
def test_names_of_other_rooms_are_theirs_to_judge(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "whatever")
    assert load_settings() == Settings()


def test_settings_are_read_from_files_of_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imagemill_redis_url").write_text("redis://:secret@elsewhere:6379/3\n")
    (tmp_path / "imagemill_s3_bucket").write_text("of another room")
    (tmp_path / "something_else").write_text("of another program")
    assert load_settings().redis_url == "redis://:secret@elsewhere:6379/3"
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", "redis://here:6379/0")
    assert load_settings().redis_url == "redis://here:6379/0"


def test_unknown_file_of_secrets_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imagemill_redis_ulr").write_text("redis://elsewhere:6379/3")
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_REDIS_ULR: .*IMAGEMILL_REDIS_URL"):
        load_settings()


def test_folder_of_secrets_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "none"))
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("told", "backend"), [(None, "redis://host"), ("redis://other", "redis://other"), ("off", None)]
)
def test_results_are_where_jobs_are_unless_told_otherwise(told: str | None, backend: str | None) -> None:
    assert Settings(redis_url="redis://host", result_backend_url=told).result_backend == backend

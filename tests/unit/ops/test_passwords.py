"""Passwords of the containers are drawn once, kept, and replaced by what an operator gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.images.passwords import PasswordRefused, settle, write

DRAWN_CHARS = 48


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What an operator gives as files: nothing yet."""
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def test_passwords_are_drawn_and_all_differ(given: Path, volume: Path) -> None:
    files = settle({}, given, volume)
    drawn = [files[name] for name in ("redis_password", "imagemill_s3_secret_access_key", "flower_password")]
    assert {len(each) for each in drawn} == {DRAWN_CHARS}
    assert len(set(drawn)) == len(drawn)
    assert files["imagemill_redis_url"] == f"redis://:{files['redis_password']}@redis:6379/0"
    assert (files["flower_user"], files["imagemill_s3_access_key_id"]) == ("imagemill", "imagemill")


def test_passwords_stay_from_start_to_start(given: Path, volume: Path) -> None:
    first = settle({}, given, volume)
    write(first, volume, os.getgid())
    assert settle({"REDIS_PASSWORD": ""}, given, volume) == first
    write(first, volume, os.getgid())  # Over files that nobody may write.
    assert {path.name for path in volume.iterdir()} == set(first)
    assert {path.stat().st_mode & 0o777 for path in volume.iterdir()} == {0o440}


def test_environment_wins_over_files_and_files_over_what_was_drawn(given: Path, volume: Path) -> None:
    write(settle({}, given, volume), volume, os.getgid())
    (given / "redis_password").write_text("from-a-file\n")
    (given / "flower_password").write_text("a-file\n")
    files = settle({"FLOWER_PASSWORD": "environment"}, given, volume)
    assert (files["redis_password"], files["flower_password"]) == ("from-a-file", "environment")


def test_another_redis_is_named_by_its_url(given: Path, volume: Path) -> None:
    url = "rediss://:p%40ss@redis.example.org:6380/1"
    files = settle({"REDIS_URL": url}, given, volume)
    assert (files["imagemill_redis_url"], files["imagemill_result_backend_url"]) == (url, url)


def test_password_is_quoted_in_the_url(given: Path, volume: Path) -> None:
    files = settle({"REDIS_PASSWORD": "a/b@c:d#"}, given, volume)
    assert files["redis_password"] == "a/b@c:d#"
    assert files["imagemill_redis_url"] == "redis://:a%2Fb%40c%3Ad%23@redis:6379/0"


@pytest.mark.parametrize("password", ["two words", 'a"b', "a,b", "a'b", "a\\b"])
def test_password_that_would_mean_something_else_is_refused_by_its_name(
    given: Path, volume: Path, password: str
) -> None:
    with pytest.raises(PasswordRefused, match=r"^S3_SECRET_ACCESS_KEY: "):
        settle({"S3_SECRET_ACCESS_KEY": password}, given, volume)

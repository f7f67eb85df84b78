"""The operator's commands for uploaded files, on a real Redis and a real store."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from jobs.inputs.files import Files, new_file_id
from jobs.process.settings import Settings
from producer.keys.store import KeyStore
from storage.backends.s3.store import S3Store
from storage.errors import ObjectNotFound
from storage.inputs import Inputs
from tests.integration.producer.api.pictures import png
from tests.integration.producer.commands import Run, lines


@pytest.fixture
def run(run: Run, store: S3Store) -> Run:
    return lambda *args: run("files", *args)


@pytest.fixture
def files(redis_client: redis.Redis, settings: Settings) -> Files:
    return Files(redis_client, settings)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo \x1b[31m.png"
    path.write_bytes(png(3 << 20))
    return path


def test_file_is_sent_listed_shown_and_deleted(run: Run, files: Files, picture: Path, store: S3Store) -> None:
    file_id = run("upload", str(picture)).stdout.strip()
    file = files.get(file_id, "default")
    assert (file.filename, file.size_bytes, file.purpose) == ("photo [31m.png", 3 << 20, "vision")
    assert Inputs(store).read(file_id) == picture.read_bytes()
    assert run("upload", str(picture)).stdout.strip() == file_id
    (other,) = lines(run("upload", str(picture), "--caller", "blog", "--purpose", "user_data", "--json"))
    assert [each["id"] for each in lines(run("list", "--json"))] == [other["id"], file_id]
    assert [each["id"] for each in lines(run("list", "--caller", "blog", "--json"))] == [other["id"]]
    assert [each["id"] for each in lines(run("list", "--purpose", "vision", "--json"))] == [file_id]
    assert file_id in run("list").stdout
    assert lines(run("show", other["id"])) == [other]
    assert lines(run("delete", file_id, "--json")) == [{"id": file_id, "deleted": True}]
    with pytest.raises(ObjectNotFound):
        Inputs(store).read(file_id)


def test_file_expires_when_it_is_told(run: Run, picture: Path) -> None:
    (file,) = lines(run("upload", str(picture), "--expires-after", "90", "--json"))
    assert file["expires_at"] == file["created_at"] + 90


def test_room_is_that_of_the_caller_s_key(
    run: Run, picture: Path, redis_client: redis.Redis, settings: Settings
) -> None:
    KeyStore(redis_client, settings).create("blog", max_file_mib=2)
    refused = run("upload", str(picture), "--caller", "blog")
    assert (refused.exit_code, "limit of 2 MiB" in refused.output) == (2, True)


def test_what_is_wrong_is_said_in_a_sentence(run: Run, picture: Path, tmp_path: Path, files: Files) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("a red circle")
    for arguments, code, sentence in (
        (("upload", str(text)), 2, "file: this is no PNG, JPEG or WebP file"),
        (("upload", str(tmp_path / "none.png")), 2, "path: cannot read"),
        (("upload", str(tmp_path)), 2, "path: cannot read"),
        (("upload", str(picture), "--purpose", "fun"), 2, "purpose: 'fun' is not one of vision"),
        (("upload", str(picture), "--caller", "a b"), 2, "caller: 'a b' is no caller's name"),
        (("show", new_file_id()), 5, "there is no file"),
        (("delete", "a-file"), 5, "there is no file a-file"),
    ):
        refused = run(*arguments)
        assert (refused.exit_code, sentence in refused.output) == (code, True), refused.output
    file_id = run("upload", str(picture)).stdout.strip()
    files.use(file_id, "a-job-to-come")
    refused = run("delete", file_id)
    assert (refused.exit_code, "is needed by a job" in refused.output) == (2, True)

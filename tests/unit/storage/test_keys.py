"""Where objects lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from storage.keys import AttemptFolder, input_key, parse_key, results_root

FILE = "file-0123456789abcdefghijklmn"
FOLDER = AttemptFolder(
    prefix="pictures",
    job_id="a-job",
    created_at=datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC).timestamp(),
    epoch=3,
    token="abc",
)


def test_keys_are_those_of_the_design() -> None:
    assert FOLDER.image(0, "png") == "pictures/2026/01/02/a-job/3-abc/0.png"
    assert FOLDER.thumbnail(0) == "pictures/2026/01/02/a-job/3-abc/0.thumb.webp"
    assert FOLDER.manifest() == "pictures/2026/01/02/a-job/3-abc/job.json"


def test_days_are_those_of_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # 14 hours ahead.
    assert FOLDER.manifest().startswith("pictures/2026/01/02/")


@pytest.mark.parametrize(("prefix", "start"), [("", "2026/"), ("/", "2026/"), ("/a/b/", "a/b/2026/")])
def test_prefix_adds_no_empty_folder(prefix: str, start: str) -> None:
    assert replace(FOLDER, prefix=prefix).image(0, "png").startswith(start)


@pytest.mark.parametrize("other", [{"epoch": 4}, {"token": "abd"}, {"job_id": "b-job"}])
def test_two_attempts_share_no_key(other: dict[str, object]) -> None:
    late = replace(FOLDER, **other)  # type: ignore[arg-type]
    keys = [[each.image(0, "webp"), each.thumbnail(0), each.manifest()] for each in (FOLDER, late)]
    assert not set(keys[0]) & set(keys[1])


def test_keys_of_one_attempt_are_distinct() -> None:
    keys = [FOLDER.manifest(), *(key for i in range(3) for key in (FOLDER.image(i, "webp"), FOLDER.thumbnail(i)))]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("prefix", ["", "pictures", "/a/b/", "odd é+"])
def test_every_key_that_is_written_is_read_back(prefix: str) -> None:
    folder = replace(FOLDER, prefix=prefix)
    for key in (folder.image(12, "webp"), folder.thumbnail(0), folder.manifest()):
        found = parse_key(prefix, key)
        assert found is not None
        assert f"{found.folder}/{found.name}" == key
        assert (found.day, found.job_id) == (date(2026, 1, 2), "a-job")
        assert found.is_manifest == (key == folder.manifest())


@pytest.mark.parametrize(
    "key",
    [
        "2026/01/02/a-job/3-abc/0.png",
        "pictures2/2026/01/02/a-job/3-abc/0.png",
        "pictures/2026/13/02/a-job/3-abc/0.png",
        "pictures/2026/01/02/a-job/3-abc/readme.txt",
        "pictures/2026/01/02/a-job/3-abc/deep/0.png",
        "pictures/2026/01/02/a-job/abc/0.png",
        "pictures/2026/01/02/../3-abc/0.png",
        "pictures/doctor/0123",
        input_key("pictures", FILE),
    ],
)
def test_key_of_somebody_else_is_none_of_ours(key: str) -> None:
    assert parse_key("pictures", key) is None


@pytest.mark.parametrize(("prefix", "start"), [("", ""), ("/", ""), ("/a/b/", "a/b/")])
def test_uploaded_files_lie_in_a_folder_of_their_own(prefix: str, start: str) -> None:
    assert input_key(prefix, FILE) == f"{start}inputs/01/{FILE}"


@pytest.mark.parametrize("prefix", ["", "pictures", "/a/b/"])
def test_rule_for_results_leaves_uploaded_files_alone(prefix: str) -> None:
    assert replace(FOLDER, prefix=prefix).image(0, "png").startswith(results_root(prefix))
    assert not input_key(prefix, FILE).startswith(results_root(prefix))

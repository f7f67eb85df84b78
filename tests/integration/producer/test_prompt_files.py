"""Files of prompts: checked whole, submitted once however often, followed to the last line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InvalidRequest
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer import Client
from producer.cli.submission.file_run import Ended, FileRun
from producer.cli.submission.prompt_file import PromptLine, read_prompts
from producer.client.parts import Parts
from storage.backends.s3.store import S3Store
from tests.claims import claim_job

PROMPT = "a red circle"


@pytest.fixture
def parts(client: Client) -> Parts:
    return client.parts


def write(tmp_path: Path, *lines: Any, name: str = "prompts.jsonl") -> Path:
    file = tmp_path / name
    file.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines), "utf-8")
    return file


def submitted(parts: Parts, prompts: Sequence[PromptLine], out: Path | None = None) -> FileRun:
    run = FileRun(parts, prompts, out)
    assert sum(run.submit()) == len(prompts)
    return run


def followed(run: FileRun) -> list[Ended]:
    return [each for some in run.follow(timeout_s=60) for each in some]


def finish(table: JobTable, store: S3Store, job_id: str | None, body: bytes = b"a picture") -> None:
    claimed = claim_job(table, str(job_id))
    key = f"files/{job_id}.png"
    store.put(key, body, "image/png")
    image = {"key": key, "content_type": "image/png", "width": 8, "height": 8, "bytes": len(body), "seed": 7}
    table.finish(claimed, Status.SUCCEEDED, artifacts=[image | {"sha256": hashlib.sha256(body).hexdigest()}])


def test_lines_are_jobs_and_options_are_for_those_that_do_not_say_otherwise(parts: Parts, tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": PROMPT, "custom_id": "a"}, "", {"prompt": "a star", "seed": 8})
    first, second = read_prompts(parts.submitter, file, {"seed": 7, "num_inference_steps": 3})
    assert [(each.line, each.custom_id) for each in (first, second)] == [(1, "a"), (3, None)]
    specs: list[Any] = [each.submission.spec for each in (first, second)]
    assert [(spec.prompt, spec.seed, spec.num_inference_steps) for spec in specs] == [(PROMPT, 7, 3), ("a star", 8, 3)]


def test_lines_of_a_text_file_are_prompts(parts: Parts, tmp_path: Path) -> None:
    file = write(tmp_path, "a red circle", "", '  {"a": star}  ', name="prompts.TXT")
    specs: list[Any] = [each.submission.spec for each in read_prompts(parts.submitter, file, {})]
    assert [spec.prompt for spec in specs] == ["a red circle", '{"a": star}']


def test_wrong_lines_are_named_all_at_once_and_nothing_is_submitted(parts: Parts, tmp_path: Path) -> None:
    lines = [{"prompt": PROMPT}, {"prompt": ""}, "{nonsense", "[]", {"prompt": PROMPT, "custom_id": 7}, *[{}] * 9]
    with pytest.raises(InvalidRequest) as caught:
        read_prompts(parts.submitter, write(tmp_path, *lines), {})
    told = str(caught.value).splitlines()
    assert told[0] == "file: nothing was submitted"
    assert [each.split(":")[0] for each in told[1:-1]] == [f"line {number}" for number in range(2, 12)]
    assert told[1].startswith("line 2: prompt: ")
    assert told[-1] == "… and 3 more"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00"])
def test_file_without_prompts_is_refused(parts: Parts, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match="file"):
        read_prompts(parts.submitter, file, {})
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_prompts(parts.submitter, tmp_path / "none.jsonl", {})


def test_file_that_is_submitted_again_gives_the_same_jobs(parts: Parts, tmp_path: Path) -> None:
    lines = [{"prompt": PROMPT}, {"prompt": PROMPT}, {"prompt": PROMPT, "custom_id": "a"}]
    first = submitted(parts, read_prompts(parts.submitter, write(tmp_path, *lines), {})).job_ids
    again = submitted(parts, read_prompts(parts.submitter, write(tmp_path, *lines), {})).job_ids
    assert again == first
    assert len(set(first)) == 3
    assert len(parts.table.list_jobs()[0]) == 3


def test_only_what_is_new_in_a_file_is_submitted(parts: Parts, tmp_path: Path) -> None:
    one, two = {"prompt": "one"}, {"prompt": "two"}
    first = submitted(parts, read_prompts(parts.submitter, write(tmp_path, one, two), {})).job_ids
    more = submitted(parts, read_prompts(parts.submitter, write(tmp_path, {"prompt": "new"}, one, two), {})).job_ids
    assert more[1:] == first
    assert len(parts.table.list_jobs()[0]) == 3


def test_file_is_submitted_anew_under_another_name_and_with_other_options(parts: Parts, tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": PROMPT})
    runs = [
        read_prompts(parts.submitter, file, {}),
        read_prompts(parts.submitter, file, {}, "again"),
        read_prompts(parts.submitter, file, {"n": 2}),
    ]
    assert len({str(submitted(parts, each).job_ids) for each in runs}) == 3


def test_keys_of_lines_are_those_of_the_first_version(parts: Parts, tmp_path: Path) -> None:
    """A file that was submitted before an upgrade, and is resumed after it, finds its jobs."""
    prompts = read_prompts(parts.submitter, write(tmp_path, {"prompt": PROMPT}, {"prompt": PROMPT}), {})
    named = {"prompt": PROMPT, "n": 2, "output": {"format": "webp"}, "custom_id": "o-1"}
    prompts += read_prompts(parts.submitter, write(tmp_path, named), {}, "night")
    assert [each.submission.spec.idempotency_key for each in prompts] == [
        "file-543d6e1f78276e8222cb40c08a8401903365b7fd",
        "file-c456a95a4db5f778ee81f25bdde0583768ee932e",
        "file-07b1f6c6412844815abfe9994928df4232484d11",
    ]


def test_submission_that_broke_off_goes_on_where_it_stopped(parts: Parts, tmp_path: Path) -> None:
    lines = [{"prompt": f"number {number}"} for number in range(1_200)]
    prompts = read_prompts(parts.submitter, write(tmp_path, *lines), {})
    broken = FileRun(parts, prompts, None)
    next(broken.submit())
    assert 0 < len(broken.job_ids) < 1_200
    whole = submitted(parts, read_prompts(parts.submitter, write(tmp_path, *lines), {})).job_ids
    assert whole[: len(broken.job_ids)] == broken.job_ids
    assert sum(each.waiting + each.released for each in parts.table.queues()) == 1_200


def test_all_lines_are_followed_and_their_pictures_saved(
    parts: Parts, table: JobTable, store: S3Store, tmp_path: Path
) -> None:
    lines = [*({"prompt": str(number), "custom_id": f"../{number}"} for number in range(9)), {"prompt": "last"}]
    prompts = read_prompts(parts.submitter, write(tmp_path, *lines), {})
    out = tmp_path / "pictures"
    out.mkdir()
    run = submitted(parts, prompts, out)
    table.cancel(str(run.job_ids[0]))
    for number, job_id in enumerate(run.job_ids[1:], 1):
        finish(table, store, job_id, str(number).encode())
    ended = followed(run)
    assert {each.prompt.line: each.has_succeeded for each in ended} == {line: line > 1 for line in range(1, 11)}
    assert sorted(each.name for each in out.iterdir()) == [*(f"{n:02d}-{n - 1}.png" for n in range(2, 10)), "10.png"]
    assert (out / "03-2.png").read_bytes() == b"2"
    assert [each.saved for each in ended if each.prompt.line == 10] == [(str(out / "10.png"),)]
    told = run.describe(next(each for each in ended if each.prompt.line == 2))
    assert (told["line"], told["custom_id"], told["status"]) == (2, "../1", "succeeded")
    assert told["images"][0]["url"].startswith("http")


def test_picture_that_is_there_is_not_fetched_again_and_half_of_one_is(
    parts: Parts, table: JobTable, store: S3Store, tmp_path: Path
) -> None:
    prompts = read_prompts(parts.submitter, write(tmp_path, {"prompt": "one"}, {"prompt": "two"}), {})
    run = submitted(parts, prompts, tmp_path)
    for job_id in run.job_ids:
        finish(table, store, job_id)
    (tmp_path / "1.png").write_bytes(b"a picture")
    (tmp_path / "2.png").write_bytes(b"a pict")
    before = (tmp_path / "1.png").stat()
    followed(run)
    after = (tmp_path / "1.png").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # Reading it is no harm.
    assert (tmp_path / "2.png").read_bytes() == b"a picture"


def test_following_ends_at_the_time_limit_with_what_has_ended(parts: Parts, table: JobTable, tmp_path: Path) -> None:
    run = submitted(parts, read_prompts(parts.submitter, write(tmp_path, {"prompt": "one"}, {"prompt": "two"}), {}))
    table.cancel(str(run.job_ids[0]))
    assert [each.prompt.line for some in run.follow(timeout_s=0) for each in some] == [1]


def test_line_that_is_refused_stops_no_other(parts: Parts, tmp_path: Path) -> None:
    own = {"idempotency_key": "mine"}
    file = write(tmp_path, {"prompt": "one", **own}, {"prompt": "two", **own}, {"prompt": "three"})
    run = submitted(parts, read_prompts(parts.submitter, file, {}))
    assert [job_id is None for job_id in run.job_ids] == [False, True, False]
    refused = [each for some in run.follow(timeout_s=0) for each in some]
    assert [each.prompt.line for each in refused] == [2]
    assert run.describe(refused[0])["error"]["code"] == "IdempotencyConflict"


def test_picture_that_cannot_be_saved_is_a_sentence(
    parts: Parts, table: JobTable, store: S3Store, tmp_path: Path
) -> None:
    run = submitted(parts, read_prompts(parts.submitter, write(tmp_path, {"prompt": PROMPT}), {}), tmp_path / "gone")
    finish(table, store, run.job_ids[0])
    with pytest.raises(InvalidRequest, match=r"^out: cannot write .*gone/1\.png: No such file"):
        followed(run)

"""One real worker serves every form of source that an entry can take; a source that is wrong ends one for good."""

from __future__ import annotations

import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from PIL import Image

from ops.models.text import entry_text
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, until
from tests.unit.ops.models.table.asked import BASE
from tests.unit.ops.models.table.broken import BROKEN
from tests.unit.ops.models.table.good import GOOD, STORED

EX_CONFIG = 78
BUCKET = "models"
# A hub is asked by those of the table in one process alone: tests/unit/ops/models/table.
HERE = [name for name, form in GOOD.items() if form.repository is None]
_JOB_S = 300
_START_S = 600


def placed(value: Any, folder: Path, number: int) -> Any:
    """Lines of an entry whose files are in that folder, or in the bucket behind that number."""
    if isinstance(value, dict):
        return {key: placed(each, folder, number) for key, each in value.items()}
    if isinstance(value, str) and value.startswith(STORED):
        return value.replace(STORED, f"s3://{BUCKET}/{number}/")
    is_file = isinstance(value, str) and (folder / value).exists()
    return str(folder / value) if is_file else value


def entry(name: str, folder: Path, lines: dict[str, Any], number: int = 0) -> str:
    said = {**BASE, **placed(lines, folder, number)}
    if said["family"] == "z-image":
        said |= {"defaults": said["defaults"] | {"height": 32}, "limits": said["limits"] | {"side_multiple": 16}}
    return entry_text(name, {key: value for key, value in said.items() if value is not None}, (), {})


def move(folder: Path, system: System, number: int) -> None:
    """All files into the bucket."""
    env = system.env
    client: Any = boto3.client(
        "s3",
        endpoint_url=env["IMAGEMILL_S3_ENDPOINT_URL"],
        aws_access_key_id=env["IMAGEMILL_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=env["IMAGEMILL_S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    if BUCKET not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        client.put_object(Bucket=BUCKET, Key=f"{number}/{file.relative_to(folder)}", Body=file.read_bytes())
        file.unlink()


def test_every_form_of_source_is_served(make_system: MakeSystem, tmp_path: Path) -> None:
    folders = {name: tmp_path / str(number) for number, name in enumerate(HERE)}
    text = ""
    for number, (name, folder) in enumerate(folders.items()):
        folder.mkdir()
        text += f"\n{entry(f'm{number}', folder, dict(GOOD[name].write(folder)), number)}"
    system = make_system(text)
    for number, (name, folder) in enumerate(folders.items()):
        if GOOD[name].is_stored:
            move(folder, system, number)
    checked = system.cli("models", "check", "--json")
    assert checked.returncode == 0, checked.stdout
    worker = system.worker(is_ready=False)
    until("the worker is ready", lambda: worker.printed(r"worker@\S+ ready") or worker.exit_code is not None, _START_S)
    assert worker.exit_code is None, "\n".join(worker.lines[-5:])
    system.serve()
    jobs = {name: system.submit(model=f"m{number}", prompt=GOOD[name].prompt) for number, name in enumerate(HERE)}
    for number, name in enumerate(HERE):
        job = system.end_of(jobs[name], deadline_s=_JOB_S)
        assert job["status"] == "succeeded", (name, job)
        (image,) = job["images"]
        with urllib.request.urlopen(image["url"]) as reply:  # noqa: S310
            size = Image.open(io.BytesIO(reply.read())).size
        assert size == (image["width"], image["height"]) == (32, 32 if "transformer" in name else 16), number


@pytest.mark.parametrize(
    "name",
    [
        "folder in the store, of another content than its checksums",
        "file without a configuration, offline",
        "file without an autoencoder",
        "learned word of another model",
        "numbers that are none",
    ],
)
def test_source_that_is_wrong_ends_the_worker_for_good(make_system: MakeSystem, tmp_path: Path, name: str) -> None:
    broken = BROKEN[name]
    folder = tmp_path / "mine"
    folder.mkdir()
    lines = dict(GOOD[broken.of].write(folder))
    changes = broken.spoil(folder)
    lines |= changes if isinstance(changes, dict) else {}
    system = make_system(entry("mine", folder, lines), {"HF_HUB_OFFLINE": "1"})
    if GOOD[broken.of].is_stored:
        move(folder, system, 0)
    line = refused(system)
    assert broken.start in line
    listed = json.loads(system.cli("workers", "--json").stdout.splitlines()[0])
    assert (listed["state"], broken.start in json.dumps(listed, ensure_ascii=False)) == ("failed", True), listed


def test_entry_that_is_wrong_ends_worker_and_doctor_with_its_line(make_system: MakeSystem) -> None:
    system = make_system(entry_text("mine", BASE | {"source": "x", "dtype": "float23"}, (), {}))
    said = "line 1: model mine: dtype (line 3): should be 'float32', 'bfloat16' or 'float16'"
    for arguments in (("worker",), ("api",), ("doctor", "--json"), ("models", "check"), ("models", "list")):
        ended = system.cli(*arguments)
        output = " ".join(f"{ended.stdout} {ended.stderr}".split())
        assert ended.returncode != 0, arguments
        assert said in output, (arguments, output)
        assert "Traceback" not in output


def refused(system: System) -> str:
    """The one line that a worker which may not start says of it."""
    worker = system.worker(is_ready=False)
    until("the worker has ended", lambda: worker.exit_code is not None or worker.printed("starting another"), _START_S)
    assert worker.exit_code == EX_CONFIG, "\n".join(worker.lines[-5:])
    assert "Traceback" not in "\n".join(worker.lines)
    (line,) = [line for line in worker.lines if "worker cannot start" in line]
    return line

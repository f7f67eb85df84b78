"""Every picture and thumbnail says that a machine made it, as exiftool reads it; what else they say is chosen."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated
from tests.certificates import TRUSTED, make_chain, read

pytestmark = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE_BY_A_MODEL = f"{IPTC}trainedAlgorithmicMedia"
MADE_OF_A_PICTURE = f"{IPTC}compositeWithTrainedAlgorithmicMedia"
PROMPT = "a SECRET circle"
FORMATS = ("png", "jpeg", "webp")


@pytest.fixture
def system(request: pytest.FixtureRequest, make_system: MakeSystem) -> System:
    system = make_system(getattr(request, "param", simulated()))
    system.worker()
    system.serve()
    return system


def tags_of(path: Path) -> dict[str, Any]:
    """All that exiftool reads in a file, `Group:Name`, raw values."""
    done = subprocess.run(["exiftool", "-json", "-G", "-n", str(path)], capture_output=True, check=True)  # noqa: S607
    return dict(json.loads(done.stdout)[0])


def is_marked(path: Path, says: str = MADE_BY_A_MODEL) -> bool:
    return tags_of(path).get("XMP:DigitalSourceType") == says


def pictures(system: System, job_id: str) -> list[Path]:
    return [path for path in system.objects(job_id) if path.name != "job.json"]


def manifest(system: System, job_id: str) -> dict[str, Any]:
    (path,) = [path for path in system.objects(job_id) if path.name == "job.json"]
    return dict(json.loads(path.read_bytes()))


def holds_prompt(path: Path) -> bool:
    body = path.read_bytes()
    return any("SECRET".encode(code) in body for code in ("utf-8", "utf-16-be")) or "SECRET" in str(tags_of(path))


def test_every_picture_and_thumbnail_is_marked_and_says_the_rest_as_it_was_asked(system: System) -> None:
    asked = {
        (form, metadata): system.submit(
            prompt=PROMPT, n=2, output={"format": form, "thumbnail": 32, **({"metadata": metadata} if metadata else {})}
        )
        for form in FORMATS
        for metadata in (None, "full", "mark")
    }
    for (_, metadata), job_id in asked.items():
        assert system.end_of(job_id)["status"] == "succeeded"
        files = pictures(system, job_id)
        assert len(files) == 4
        assert all(is_marked(path) for path in files)
        images = [path for path in files if "thumb" not in path.name]
        assert {holds_prompt(path) for path in images} == {metadata != "mark"}
        assert manifest(system, job_id)["spec"]["prompt"] == PROMPT


def test_edits_say_that_they_are_made_of_a_picture(system: System) -> None:
    first = system.submit(n=1)
    system.end_of(first)
    (source,) = pictures(system, first)
    sent: dict[str, Any] = {"kind": "edit", "prompt": PROMPT, "image": {"job": first}, "strength": 0.5, "n": 2}
    jobs = [system.submit(**sent, output={"format": form, "thumbnail": 32}) for form in FORMATS]
    for job_id in jobs:
        assert system.end_of(job_id)["status"] == "succeeded"
        files = pictures(system, job_id)
        assert len(files) == 4
        assert all(is_marked(path, MADE_OF_A_PICTURE) for path in files)
        said = [str(tags_of(path)) for path in files if "thumb" not in path.name]
        assert all(hashlib.sha256(source.read_bytes()).hexdigest() in each and first not in each for each in said)


@pytest.mark.parametrize("system", [simulated(more='metadata = "mark"')], indirect=True, ids=["mark"])
def test_operator_keeps_prompts_out_of_a_models_files(system: System) -> None:
    job_id = system.submit(prompt=PROMPT, output={"thumbnail": 32})
    system.end_of(job_id)
    assert all(is_marked(path) and not holds_prompt(path) for path in pictures(system, job_id))
    spec = manifest(system, job_id)["spec"]
    assert (spec["prompt"], spec["output"]["metadata"]) == (PROMPT, "mark")
    asked = {"prompt": PROMPT, "output": {"metadata": "full"}}
    refused = system.http("POST", "/v1/jobs", asked)
    assert (refused.status, refused.body["error"]["field"]) == (422, "output.metadata")


def test_worker_with_a_certificate_signs_what_it_stores(make_system: MakeSystem, tmp_path: Path) -> None:
    chain = make_chain(tmp_path / "chain")
    env = {
        "IMAGEMILL_WORKER_C2PA_CERTIFICATE_FILE": str(chain.certificate_file),
        "IMAGEMILL_WORKER_C2PA_KEY_FILE": str(chain.key_file),
    }
    system = make_system(simulated())
    system.worker(env=env)
    system.serve()
    first = system.submit(output={"format": "jpeg", "thumbnail": 32})
    system.end_of(first)
    edited = system.submit(kind="edit", image={"job": first}, output={"format": "webp"})
    shown = {job_id: system.end_of(job_id)["images"][0] for job_id in (first, edited)}
    for job_id, last, mark in ((first, "c2pa.created", MADE_BY_A_MODEL), (edited, "c2pa.edited", MADE_OF_A_PICTURE)):
        (path,) = [each for each in pictures(system, job_id) if "thumb" not in each.name]
        told_by_it = read(path.read_bytes(), shown[job_id]["content_type"], chain)
        assert (told_by_it.state, told_by_it.actions[-1]) == (TRUSTED, (last, mark.rpartition("/")[2]))
        assert is_marked(path, mark)
        assert shown[job_id]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_mark_comes_through_every_door(system: System, tmp_path: Path) -> None:
    asked = {"model": "sim", "prompt": PROMPT, "size": "64x64", "response_format": "b64_json", "output_format": "webp"}
    answer = system.http("POST", "/v1/images/generations", asked)
    openai = tmp_path / "openai.webp"
    openai.write_bytes(base64.b64decode(answer.body["data"][0]["b64_json"]))

    fields = {"prompt": PROMPT, "output": {"format": "jpeg", "metadata": "mark"}}
    result = system.celery().send_task("imagemill.generate", kwargs=fields, queue="gpu.sim")
    system.end_of(str(result.id))
    (celery,) = pictures(system, str(result.id))

    command = tmp_path / "cli.png"
    assert system.cli("submit", PROMPT, "--file-metadata", "mark", "--out", str(command)).returncode == 0
    assert all(is_marked(path) for path in (openai, celery, command))
    assert [holds_prompt(path) for path in (openai, celery, command)] == [True, False, False]

"""What a person sees of models and of jobs, beside what they made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.table.states import Status
from jobs.table.table import JobTable
from producer import Client
from tests.integration.producer.commands import Run

ENTRY = """
[models.{name}]
source = "nowhere"
revision = "1"
dtype = "float32"
family = "{family}"
schedulers = ["default"]
defaults = {{ width = 64, height = 64, num_inference_steps = 4, guidance_scale = 1.0, scheduler = "default" }}
limits = {{ min_side = 64, max_side = 128, max_steps = 10, max_n = 2 }}
"""


def test_models_are_listed_with_what_they_take(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models.toml"
    names = {"z-image": "turbo", "diffusers": "mine"}
    file.write_text("".join(ENTRY.format(name=name, family=family) for family, name in names.items()))
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(file))
    turbo, mine = (json.loads(line) for line in run("models", "--json").stdout.splitlines())
    assert (turbo["model"], turbo["family"], turbo["guidance"], turbo["side_multiple"]) == (
        "turbo",
        "z-image",
        "true",
        16,
    )
    assert (mine["model"], mine["guidance"], mine["negative_prompt"]) == ("mine", None, None)
    shown = run("models").stdout
    assert "64 to 128 pixels, multiples of 16" in shown
    assert "up to 32000 characters" in shown
    assert "known to its worker" in shown


def test_warnings_of_a_job_are_shown(run: Run, client: Client, table: JobTable) -> None:
    job = client.submit("a red circle")
    claim, _ = table.claim(job.id, owner="a worker")
    assert claim is not None
    table.finish(claim, Status.SUCCEEDED, warnings=["prompt: cut to [77] tokens"])
    assert "warning  prompt: cut to [77] tokens" in run("status", job.id).stdout
    assert json.loads(run("status", job.id, "--json").stdout)["warnings"] == ["prompt: cut to [77] tokens"]


def test_why_a_job_failed_is_one_line_of_a_pipe(run: Run, client: Client, table: JobTable) -> None:
    job = client.submit("a red circle")
    claim, _ = table.claim(job.id, owner="a worker")
    assert claim is not None
    message = "mask: nothing of it is white or transparent, so nothing would change"
    table.finish(claim, Status.FAILED, error={"code": "invalid_input", "message": message})
    assert f"failed {job.id} {message} (invalid_input)" in run("wait", job.id).stdout.splitlines()


def test_models_say_above_what_guidance_is_on_and_which_scheduler_runs_fewer_steps(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models.toml"
    entry = ENTRY.format(name="mine", family="stable-diffusion").replace("max_steps = 10", "max_steps = 100")
    file.write_text(entry.replace('["default"]', '["default", "lcm"]'))
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(file))
    lines = [line.strip() for line in run("models").stdout.splitlines()]
    assert "steps            up to 100, 50 with lcm" in lines
    assert "guidance         true, above 1" in lines

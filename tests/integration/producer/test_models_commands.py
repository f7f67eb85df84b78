"""`./imagemill models`: list and show, with the workers that serve each model, and without Redis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from tests.integration.producer.commands import Run, lines

ENTRY = """
[models.mine]
source = "here"
revision = "1"
dtype = "float32"
family = "z-image"
schedulers = ["default", "heun"]
max_sequence_length = 128
components = { vae = { source = "other/vae", subfolder = "vae" } }
defaults = { width = 64, height = 64, num_inference_steps = 4, guidance_scale = 1.0, scheduler = "default" }
limits = { min_side = 64, max_side = 128, max_steps = 10, max_n = 2 }

[models.other]
source = "nowhere"
revision = "1"
dtype = "float32"
family = "diffusers"
schedulers = ["default"]
defaults = { width = 64, height = 64, num_inference_steps = 4, guidance_scale = 1.0, scheduler = "default" }
limits = { min_side = 64, max_side = 128, max_steps = 10, max_n = 2 }
"""


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "models.toml").write_text(ENTRY)
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    return tmp_path


@pytest.fixture
def worker(settings: Settings, redis_client: redis.Redis) -> str:
    fleet = Fleet(redis_client, settings)
    fleet.report(WorkerReport(name="worker@loading", state="starting", models=("mine",)))
    fleet.report(WorkerReport(name="worker@here", state="ready", models=("mine",), slots=4))
    return "worker@here"


@pytest.mark.parametrize("command", [("models",), ("models", "list")])
def test_list_says_who_serves_a_model(run: Run, worker: str, command: tuple[str, ...]) -> None:
    mine, other = lines(run(*command, "--json"))
    assert (mine["model"], mine["workers"], other["workers"]) == ("mine", [worker], [])
    shown = [line.strip() for line in run(*command).stdout.splitlines()]
    assert [line for line in shown if line.startswith("served by")] == [
        f"served by        {worker}",
        "served by        no worker",
    ]


def test_list_and_show_do_without_redis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", "redis://127.0.0.1:1/0")
    for command in (("list",), ("show", "mine")):
        result = run("models", *command)
        assert result.exit_code == 0
        assert "served by" in result.stdout
        assert "not known" in result.stdout
        assert "who serves the models is not known: Redis at redis://127.0.0.1:1/0 does not answer" in result.stderr
        assert lines(run("models", *command, "--json"))[0]["workers"] is None


def test_show_names_what_the_entry_leaves_out(run: Run, catalogue: Path, worker: str) -> None:
    shown = [" ".join(line.split()) for line in run("models", "show", "mine").stdout.splitlines()]
    assert f"sourcehere({catalogue / 'here'})revision1" in "".join(shown).replace(" ", "")
    for line in (
        "max_sequence_length 128",
        "components vae: source: other/vae, subfolder: vae",
        "textual_inversions none (default)",
        "schedulers default, heun",
        "guidance true (default)",
        "negative_prompt true (default)",
        "edits image: strength, mask: strength (default)",
        "defaults.num_inference_steps 4",
        "limits.max_side 128",
        "limits.side_multiple 16 (default)",
        "limits.max_output_pixels 16777216 (default)",
        "text_device model (default)",
        f"served by {worker}",
    ):
        assert line in shown


def test_show_as_json_has_every_line(run: Run) -> None:
    (shown,) = lines(run("models", "show", "mine", "--json"))
    assert shown["entry"]["components"]["value"]["vae"]["source"] == "other/vae"
    assert shown["entry"]["schedulers"] == {"value": ["default", "heun"], "said": True}
    assert shown["takes"]["guidance"] == "true"


def test_show_says_what_only_a_worker_knows(run: Run) -> None:
    (shown,) = lines(run("models", "show", "other", "--json"))
    assert shown["place"] == "nowhere"
    assert shown["entry"]["guidance"] == {"value": None, "said": False}
    assert shown["entry"]["limits.max_n"] == {"value": 2, "said": True}
    assert "known to its worker" in run("models", "show", "other").stdout


def test_show_of_no_model_is_refused(run: Run) -> None:
    result = run("models", "show", "none")
    assert result.exit_code == 2
    assert "model: there is no model 'none'; the models are mine, other" in result.stderr
    refused = run("models", "show", "none", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "model_not_available"


def test_json_in_front_of_a_command_is_refused(run: Run) -> None:
    result = run("models", "--json", "show", "mine")
    assert result.exit_code == 2
    assert "put it behind show" in result.stderr

"""Models of today's kind through the whole system: three of them in one worker, which is killed twice."""

from __future__ import annotations

import io
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import ENDED, PATIENCE_S, Command, System, until
from tests.processes import children_of
from tests.tiny_pipelines import FLOW_PIPELINES

MODELS = ("z-image", "qwen-image", "flux2-klein")
JOBS = 60
MAX_TOKENS = 320

_COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")


def entry(name: str) -> str:
    return f"""
[models.{name}]
source = "{name}"
revision = "test"
dtype = "float32"
family = "{FLOW_PIPELINES[name][0]}"
max_sequence_length = {MAX_TOKENS}
schedulers = ["default"]
defaults = {{ width = 32, height = 32, num_inference_steps = 20, guidance_scale = 3.0, scheduler = "default" }}
limits = {{ min_side = 32, max_side = 128, side_multiple = 16, max_steps = 100, max_n = 2 }}
"""


def request(index: int) -> dict[str, Any]:
    """No two are alike; sizes differ, too."""
    model = MODELS[index % len(MODELS)]
    fields: dict[str, Any] = {
        "model": model,
        "prompt": f"a {_COLOURS[index % 6]} circle" + " beside another one" * (index % 4),
        "seed": index,
        "n": 1 + index % 2,
        "num_inference_steps": 20 + 7 * (index % 5),
        "guidance_scale": 2.0 + index % 3,
        "width": 32 + 16 * (index % 3),
    }
    if model != "flux2-klein" and index % 2:
        fields["negative_prompt"] = "gray"
    return fields


def solo(pipeline: Any, fields: dict[str, Any]) -> list[Any]:
    """What diffusers alone makes of a request: levels of 0 to 255."""
    is_qwen = fields["model"] == "qwen-image"
    made = []
    for index in range(fields["n"]):
        given: dict[str, Any] = {"true_cfg_scale" if is_qwen else "guidance_scale": fields["guidance_scale"]}
        if fields["model"] != "flux2-klein":  # A list for each call: Z-Image's pipeline writes into it.
            given["negative_prompt"] = [fields.get("negative_prompt") or (" " if is_qwen else "")]
        image = pipeline(
            prompt=[fields["prompt"]],
            width=fields["width"],
            height=32,
            num_inference_steps=fields["num_inference_steps"],
            generator=[torch.Generator().manual_seed(fields["seed"] + index)],
            max_sequence_length=MAX_TOKENS,
            output_type="np",
            **given,
        ).images[0]
        made.append(255 * image)
    return made


class Batch:
    """Jobs that are waited for together: a look at all of them is one request, of 1 KB, and not one for each."""

    def __init__(self, system: System, requests: list[dict[str, Any]]) -> None:
        self._system = system
        made = system.http("POST", "/v1/jobs/batch", requests)
        assert made.status == 200, f"{made.status} {made.body}"
        assert [line["error"] for line in made.body] == [None] * len(requests)
        self._path = f"/v1/jobs/batches/{made.headers['location'].rpartition('/')[2]}"

    @property
    def ended(self) -> int:
        """How many of its jobs have ended."""
        counts = self._system.http("GET", self._path).body["counts"]
        return sum(counts[status] for status in ENDED)

    def wait(self, count: int, deadline_s: float = PATIENCE_S) -> None:
        """Until so many have ended."""
        until(f"{count} jobs have ended", lambda: self.ended >= count, deadline_s)

    def jobs(self) -> list[dict[str, Any]]:
        """As HTTP shows them, in the order of their requests."""
        lines = self._system.http("GET", f"{self._path}/results").body
        return [line["job"] for line in sorted(lines, key=lambda line: int(line["line"]))]


def kill_child(worker: Command) -> None:
    """Kill the process that holds the models, and wait until its parent has started another."""
    assert worker.pid is not None
    pid = worker.pid
    starts = worker.printed(r"worker@\S+ ready")
    os.kill(until("it has a child", lambda: next(iter(children_of(pid)), None)), signal.SIGKILL)
    until("another is ready", lambda: worker.printed(r"worker@\S+ ready") > starts)


@pytest.mark.long
def test_mixed_jobs_of_three_models_survive_two_kills_and_equal_their_solo_runs(
    make_system: MakeSystem, tmp_path: Path
) -> None:
    for name in MODELS:
        FLOW_PIPELINES[name][1]().save_pretrained(tmp_path / name)
    system = make_system("".join(entry(name) for name in MODELS), {"IMAGEMILL_LEASE_S": "2"})
    worker = system.worker()
    system.serve()
    requests = [request(index) for index in range(JOBS)]
    batch = Batch(system, requests)
    for count in (10, 25):
        batch.wait(count)
        kill_child(worker)
        assert batch.ended < JOBS
    batch.wait(JOBS, 2 * PATIENCE_S)
    jobs = batch.jobs()
    assert len(jobs) == JOBS
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert any(job["attempts"] > 1 for job in jobs)

    pipelines = {name: DiffusionPipeline.from_pretrained(tmp_path / name) for name in MODELS}
    for pipeline in pipelines.values():
        pipeline.set_progress_bar_config(disable=True)
    for fields, job in zip(requests, jobs, strict=True):
        expected = solo(pipelines[fields["model"]], fields)
        assert len(job["images"]) == len(expected)
        for image, levels in zip(job["images"], expected, strict=True):
            with urllib.request.urlopen(image["url"]) as reply:  # noqa: S310
                made = np.asarray(Image.open(io.BytesIO(reply.read())))
            assert np.abs(made - levels).max() <= 1

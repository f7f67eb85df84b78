"""A worker's memory stays where it is: many different jobs, and the largest pictures that can be edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jobs.kinds.edit import EDIT
from jobs.process.settings import Settings
from jobs.table.states import Status
from ops.programs import Program
from ops.servers import RedisServer, S3Server
from ops.stack import addresses, metrics_env, worker_is_ready
from producer import Client
from storage.backends.s3.settings import S3Settings
from tests.blackbox.system import simulated
from tests.system.conftest import CHECKOUT, DEADLINE_S
from workers.runners.registry import RUNNERS

JOBS, SETTLED_AFTER = 2_000, 200
GROWTH = 0.05
_LIMIT_S = 900  # a minute where nothing else runs

LARGE = 7_000  # pixels of a side: 49 of the 50 million that a picture may have
EDITS, SMALL = 6, 8
HEAP_BYTES = 64 << 20  # of a thread, which glibc keeps (workers.process.allocator)
_START_S = 240.0


@pytest.mark.long
@pytest.mark.timeout(_LIMIT_S + 20)
def test_memory_grows_no_more_after_the_first_jobs(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.system.memory", str(JOBS), str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    assert done.returncode == 0, done.stderr
    resident_bytes = json.loads(done.stdout.splitlines()[-1])
    assert len(resident_bytes) == JOBS // 100
    settled = resident_bytes[SETTLED_AFTER // 100 - 1]
    assert max(resident_bytes[SETTLED_AFTER // 100 :]) <= (1 + GROWTH) * settled, resident_bytes


@pytest.mark.long
@pytest.mark.timeout(_LIMIT_S + 20)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(("result", "output"), [(0, "png"), (4096, "webp")], ids=["cut out", "scaled"])
def test_an_edit_takes_no_more_than_its_runner_says(tmp_path: Path, form: str, result: int, output: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "EDITED": str(tmp_path / "picture")}
    command = [sys.executable, "-m", "tests.system.edit_memory", form, str(LARGE), str(result), output]
    done = subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert LARGE**2 < found["laid_out"] <= found["said_laid_out"], found
    assert found["filed"] <= found["said_filed"], found


class Resident:
    """How much memory a program's processes have, its own first, in bytes."""

    def __init__(self, pid: int) -> None:
        children = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
        self._pids = [pid, *(int(child) for of_a_thread in children for child in of_a_thread)]
        assert len(self._pids) > 1, "its parent alone"

    def begin(self) -> int:
        """What they have now; `most` counts from here (proc(5), clear_refs)."""
        for pid in self._pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.most()

    def most(self) -> int:
        """The most that each had."""
        lines = (line for pid in self._pids for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.long
@pytest.mark.timeout(_LIMIT_S)
def test_large_edits_that_come_at_once_go_one_by_one_and_small_neighbours_finish(
    s3_server: S3Server, tmp_path: Path
) -> None:
    """A budget of 256 MiB is less than any of them takes: each has all of it, and none is beside another."""
    models, photo = tmp_path / "models.toml", tmp_path / "photo.jpeg"
    models.write_text(simulated().replace("max_n = 16", f"max_n = 16, max_output_pixels = {LARGE**2}"), "utf-8")
    Image.linear_gradient("L").resize((LARGE, LARGE)).convert("RGB").save(photo, "JPEG")
    mask = tmp_path / "mask.png"
    Image.new("L", (LARGE, LARGE)).save(mask)
    with Image.open(mask) as image:
        image.paste(255, (100, 100, 200, 200))
        image.save(mask)
    with RedisServer(tmp_path / "redis") as redis_server:
        settings = Settings(redis_url=redis_server.url, models_file=models)
        own = {
            "PYTHONPATH": str(CHECKOUT),
            "IMAGEMILL_MODELS_FILE": str(models),
            "IMAGEMILL_WORKER_CACHE_DIR": str(tmp_path / "cache"),
            "IMAGEMILL_WORKER_INPUTS_MIB": "256",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
        env = inherited | addresses(redis_server, s3_server) | own | metrics_env(0)
        command = [sys.executable, "-m", "ops.cli", "worker"]
        worker = Program("worker", command, env, lambda: worker_is_ready(settings))
        worker.start()
        try:
            worker.wait_until_ready(_START_S)
            assert worker.pid is not None
            resident = Resident(worker.pid)
            client = Client(settings, S3Settings(endpoint_url=s3_server.endpoint, bucket=env["IMAGEMILL_S3_BUCKET"]))
            before = resident.begin()
            large = [
                client.submit("a star", kind="edit", model="sim", image=photo, mask=mask, seed=seed)
                for seed in range(EDITS)
            ]
            small = [client.submit("a red circle", model="sim", seed=seed) for seed in range(SMALL)]
            records = [job.wait(DEADLINE_S) for job in (*small, *large)]
            assert {record.status for record in records} == {Status.SUCCEEDED}, [each.error for each in records]
            spec = EDIT.spec.model_validate(records[-1].parameters)
            most, grown = RUNNERS["edit"].input_bytes(spec) + EDITS * HEAP_BYTES, resident.most() - before
            assert grown <= most, f"{grown >> 20} MiB; one edit and the heaps of their threads are {most >> 20}"
        finally:
            worker.stop()

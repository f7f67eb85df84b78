"""
Jobs in every state, and what Redis then holds: `python -m tests.blackbox.every_state FILE`.

The dump that it writes (see `tests.dumps`) goes into `tests/data/`, for later versions to be tested against.
`BLACKBOX_CHECKOUT` names another checkout whose dump it shall be. What is what stands in the dump, under `NOTES`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.blackbox.system import CHECKOUT, Command, System, simulated, until
from tests.dumps import Dump, dump

NOTES = "tests:notes"
MODELS = simulated() + simulated("idle")
CALLER = "blog"

_WAITING: list[dict[str, Any]] = [
    {"prompt": "waits, released"},
    {"prompt": "waits for long", "deadline": 100_000, "priority": "high", "metadata": {"order": "8"}},
    {"prompt": "waits", "priority": "low", "output": {"format": "webp", "quality": 80, "thumbnail": 32}},
    {"prompt": "waits with all that can be said", "n": 2, "seed": 9, "width": 128, "reproducible": True},
]


def bring_about(system: System) -> Dump:
    """Bring jobs into every state, stop all that could change them, and dump what Redis holds."""
    env = {"IMAGEMILL_MAX_ATTEMPTS": "1", "IMAGEMILL_RELEASE_WINDOW": "2", "IMAGEMILL_WORKER_NAME": "host"}
    system.env |= {**env, "IMAGEMILL_RESULT_BACKEND_URL": system.redis_server.url}
    worker, api = system.worker("--model", "sim"), system.serve()
    made = _Made(system)
    made.end_some()
    made.wait_in_a_paused_queue()
    made.die(worker)
    worker = system.worker("--model", "sim")
    made.be_refused()
    made.run()
    _kill(worker)
    made.wait()
    notes = made.notes()
    assert notes["jobs"]["processing"]["status"] == "processing", "its lease has lapsed: this machine is too busy"
    _kill(api)
    client = system.redis()
    client.set(NOTES, json.dumps(notes))
    return dump(client)


class _Made:
    """What was submitted, by the part that it plays."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._key = system.key(CALLER)
        self._jobs: dict[str, str] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._batches: dict[str, str] = {}
        self._celery: dict[str, str] = {}

    def end_some(self) -> None:
        output = {"format": "webp", "quality": 80, "thumbnail": 32, "crop": {"width": 32, "height": 32}}
        fields = {"prompt": "a red circle", "n": 2, "output": output, "metadata": {"order": "7"}, "seed": 7}
        self._submit("succeeded", "order-7", fields)
        self._batch("ended")
        self._end("succeeded", "succeeded")
        path = f"/v1/jobs/batches/{self._batches['ended']}"
        until("the batch has ended", lambda: self._system.http("GET", path, key=self._key).body["status"] == "ended")

    def wait_in_a_paused_queue(self) -> None:
        assert self._system.cli("queue", "pause", "idle").returncode == 0
        self._submit("expired", None, {"prompt": "expires", "model": "idle", "start_deadline": 0.5})
        self._submit("canceled", "order-9", {"prompt": "is canceled", "model": "idle"})
        self._system.http("DELETE", f"/v1/jobs/{self._jobs['canceled']}", key=self._key)
        self._submit("paused", None, {"prompt": "waits in a paused queue", "model": "idle"})
        self._end("expired", "expired")
        self._end("canceled", "canceled")

    def die(self, worker: Command) -> None:
        self._submit("dead", None, {"prompt": "kills its worker", "num_inference_steps": 1_000})
        self._begin("dead")
        _kill(worker)
        self._end("dead", "failed")

    def be_refused(self) -> None:
        app = self._system.celery()
        for role, fields in {"refused": {"prompt": "", "colour": "red"}, "sent": {"prompt": "a star"}}.items():
            sent = app.send_task("imagemill.generate", kwargs=fields, queue="gpu.sim")
            sent.get(timeout=90, propagate=False)
            self._celery[role] = sent.id

    def run(self) -> None:
        self._submit("processing", None, {"prompt": "runs", "num_inference_steps": 400})
        self._begin("processing")

    def wait(self) -> None:
        for number, fields in enumerate(_WAITING):
            self._submit(f"waiting {number}", f"waiting-{number}", fields)
        self._batch("waiting")

    def notes(self) -> dict[str, Any]:
        """What is what, and how it was shown."""
        shown = {role: self._system.job(job_id, self._key) for role, job_id in self._jobs.items()}
        batches = {
            role: self._system.http("GET", f"/v1/jobs/batches/{batch}", key=self._key).body
            for role, batch in self._batches.items()
        }
        return {
            "models": MODELS,
            "key": self._key,
            "jobs": shown,
            "requests": self._requests,
            "batches": batches,
            "celery": self._celery,
        }

    def _submit(self, role: str, idempotency_key: str | None, fields: dict[str, Any]) -> None:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self._system.http("POST", "/v1/jobs", fields, self._key, headers)
        assert answer.status == 202, f"{answer.status} {answer.body}"
        self._jobs[role] = answer.body["id"]
        if idempotency_key:
            self._requests[role] = {"key": idempotency_key, "fields": fields}

    def _batch(self, role: str) -> None:
        lines = [{"prompt": f"line {number} of {role}", "custom_id": f"c{number}"} for number in range(2)]
        headers = {"Idempotency-Key": f"batch {role}"}
        answer = self._system.http("POST", "/v1/jobs/batch", [*lines, {"prompt": ""}], self._key, headers)
        assert answer.status == 200, f"{answer.status} {answer.body}"
        self._batches[role] = answer.headers["location"].rpartition("/")[2]

    def _begin(self, role: str) -> None:
        def begun() -> bool:
            return bool(self._system.job(self._jobs[role], self._key)["stage"] == "generate")

        until(f"the job that is to be {role} runs", begun)

    def _end(self, role: str, status: str) -> None:
        job = self._system.end_of(self._jobs[role], self._key)
        assert job["status"] == status, job


def _kill(process: Command) -> None:
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.stop()


def main(file: Path) -> None:
    """Write a dump."""
    with tempfile.TemporaryDirectory() as folder, System(Path(folder), Path(folder) / "cache", MODELS) as system:
        found = bring_about(system)
    text = json.dumps(found, indent=1, sort_keys=True).replace(str(CHECKOUT), "/app")  # Tracebacks name their files.
    file.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

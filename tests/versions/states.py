"""Jobs in every state, brought about by one version before another joins."""

from __future__ import annotations

from typing import Any

from producer import Job
from tests.blackbox.system import Command
from tests.faults.harness.waiting import until
from tests.faults.harness.worker import WorkerUnderTest
from tests.versions.checkouts import Version
from tests.versions.deployment import Deployment
from tests.versions.views import ask, job_paths

IDLE_QUEUE = "gpu.idle"  # of the model whose queue stands still until another version lets it go on
LINES = 12  # of the batch: half for each of the two models
ORDER: dict[str, Any] = {"prompt": "an order", "metadata": {"order": "7"}, "seed": 7}
ORDER_KEY = {"Idempotency-Key": "order-7"}
SHOULD_BE = {"ordered": "succeeded", "canceled": "canceled", "expired": "expired", "dead": "failed"}


class States:
    """
    What one version left.

    Attributes:
        ids: Jobs by the part that they play; those that are not in `SHOULD_BE` succeed when their queue goes on.
        batch_id: A batch that is half done until then.
    """

    def __init__(self, deployment: Deployment, version: Version) -> None:
        self._deployment, self._version = deployment, version
        self.ids: dict[str, str] = {}
        self.batch_id = ""

    @property
    def jobs(self) -> list[Job]:
        return [self._deployment.system.client.job(job_id) for job_id in self.ids.values()]

    @property
    def paths(self) -> list[str]:
        """Where they are over HTTP."""
        return [*job_paths(self.ids.values()), f"/v1/batches/{self.batch_id}", f"/v1/batches/{self.batch_id}/results"]

    def die(self, *workers: WorkerUnderTest) -> WorkerUnderTest:
        """Have a job lose its worker, one of these two, which allow a single attempt; returns the one that lives."""
        self._cli("queue", "pause", IDLE_QUEUE)
        self.ids["dead"] = self._cli("submit", "a picture that loses its worker", "--num-inference-steps", "500")
        dead = self._deployment.system.client.job(self.ids["dead"])
        holder = until("it was taken", lambda: self._deployment.system.counts(dead).owner)
        doomed, other = sorted(workers, key=lambda worker: worker.owner != holder)
        lost = self._deployment.kill(doomed)
        assert [job.id for job in lost] == [dead.id]
        until("it is dead", lambda: dead.status().has_ended, 120)
        return other

    def leave(self, api: Command) -> None:
        """Everything else: through the version's API, while its workers run."""
        self._end(api)
        self._wait(api)
        answers = api.http("POST", "/v1/jobs/batch", [self._line(number) for number in range(LINES)])
        self.ids |= {f"line {each['line']}": each["id"] for each in answers.body}
        self.batch_id = answers.headers["location"].rpartition("/")[2]
        half = {"succeeded": LINES // 2, "queued": LINES // 2}
        until("the batch is half done", lambda: half.items() <= self._counts(api).items())

    def check(self) -> None:
        """At the end: each is what it should be."""
        for role, job_id in self.ids.items():
            view = self._deployment.system.client.status(job_id)
            assert view.status == SHOULD_BE.get(role, "succeeded"), (role, view)

    def _end(self, api: Command) -> None:
        self.ids["ordered"] = self._submit(api, ORDER, ORDER_KEY)
        self.ids["expired"] = self._submit(api, {"prompt": "too late", "model": "idle", "start_deadline": 0.5})
        self.ids["canceled"] = self._submit(api, {"prompt": "not wanted", "num_inference_steps": 1000})
        until("it runs", lambda: api.http("GET", f"/v1/jobs/{self.ids['canceled']}").body["step"] > 0)
        assert api.http("DELETE", f"/v1/jobs/{self.ids['canceled']}").status == 200
        for role in ("ordered", "expired", "canceled"):
            until(f"what is to be {role} has ended", lambda role=role: self._has_ended(role))  # type: ignore[misc]

    def _wait(self, api: Command) -> None:
        for number in range(4):
            fields = {"prompt": "waits", "model": "idle", "priority": ("low", "high")[number % 2], "n": 2}
            self.ids[f"waiting {number}"] = self._submit(api, fields)

    def _has_ended(self, role: str) -> bool:
        return self._deployment.system.client.status(self.ids[role]).has_ended

    def _counts(self, api: Command) -> dict[str, int]:
        return dict(ask(api, f"/v1/batches/{self.batch_id}").body["counts"])

    def _line(self, number: int) -> dict[str, Any]:
        return {"prompt": "a line", "custom_id": f"line-{number}", "model": ("sim", "idle")[number % 2]}

    def _submit(self, api: Command, fields: dict[str, Any], headers: dict[str, str] | None = None) -> str:
        answer = api.http("POST", "/v1/jobs", fields, headers=headers)
        assert answer.status == 202, answer.body
        return str(answer.body["id"])

    def _cli(self, *args: str) -> str:
        done = self._deployment.system.cli(*args, checkout=self._version.checkout)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

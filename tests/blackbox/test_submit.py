"""What was written is not told to have failed: jobs whose messages cannot be sent run nevertheless, and later."""

from __future__ import annotations

import json

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated

QUEUE = "gpu.sim"
PROMPT = "a red circle on a blue background"


def told_to_be(system: System, *rules: str) -> dict[str, str]:
    """What makes a process somebody who has the job table, and can send none of its messages."""
    rights = ("reset", "on", ">secret", "~imagemill:*", "~gpu.*", "~_kombu*", "&*", "+@all", *rules)
    system.redis().execute_command("ACL", "SETUSER", "limited", *rights)  # type: ignore[no-untyped-call]
    return {"IMAGEMILL_REDIS_URL": system.redis_server.url.replace("redis://", "redis://limited:secret@")}


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    return make_system(simulated(), {"IMAGEMILL_RELEASE_WINDOW": "1"})


def test_job_is_submitted_on_the_command_line_though_its_message_cannot_be_sent(system: System) -> None:
    limited = told_to_be(system)
    one = system.cli("submit", PROMPT, "--json", env=limited)
    assert (one.returncode, one.stderr.count("Traceback")) == (0, 0), one.stdout + one.stderr
    file = system.folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": PROMPT, "seed": seed}) + "\n" for seed in range(3)), "utf-8")
    many = system.cli("submit", "--file", str(file), "--detach", "--json", env=limited)
    assert many.returncode == 0, many.stdout + many.stderr
    job_ids = [json.loads(line)["id"] for line in [*one.stdout.splitlines(), *many.stdout.splitlines()]]
    assert len(job_ids) == 4
    system.serve()
    system.worker()
    assert [system.end_of(job_id)["status"] for job_id in job_ids] == ["succeeded"] * 4


def test_operators_are_told_what_was_done_though_no_message_can_be_sent(system: System) -> None:
    limited = told_to_be(system)
    system.serve()
    first, second, third = (system.submit(seed=seed) for seed in range(3))
    codes = {"cancel": system.cli("cancel", first, "--json", env=limited).returncode}
    assert system.cli("queue", "pause", QUEUE).returncode == 0
    assert system.job(first)["status"] == "canceled"
    assert system.cli("cancel", second).returncode == 0
    codes["queue resume"] = system.cli("queue", "resume", QUEUE, env=limited).returncode
    assert system.cli("cancel", third).returncode == 0
    replayed = system.cli("dead", "replay", second, "--json", env=limited)
    codes["dead replay"] = replayed.returncode
    others = [system.submit(seed=seed) for seed in range(2)]
    codes["queue purge"] = system.cli("queue", "purge", QUEUE, "--yes", env=limited).returncode
    assert codes == dict.fromkeys(("cancel", "queue resume", "dead replay", "queue purge"), 0)
    assert [system.job(job_id)["status"] for job_id in (second, *others)] == ["canceled"] * 3
    last = [system.submit(seed=seed) for seed in range(2)]
    system.cli("cancel", last[0], env=limited)
    system.worker()
    assert system.end_of(last[1])["status"] == "succeeded"


def test_http_answers_what_was_done_though_no_message_can_be_sent(system: System) -> None:
    system.serve(env=told_to_be(system))
    first, second = (system.submit(seed=seed) for seed in range(2))
    statuses = {"cancel": system.http("DELETE", f"/v1/jobs/{first}").status}
    batch = system.http("POST", "/v1/jobs/batch", [{"prompt": PROMPT, "seed": seed} for seed in range(3)])
    assert [each["error"] for each in batch.body] == [None] * 3
    assert system.http("DELETE", f"/v1/jobs/{second}").status in (200, 503)
    statuses["cancel a batch"] = system.http("DELETE", batch.headers["location"]).status
    last = system.submit()
    assert statuses == {"cancel": 200, "cancel a batch": 200}
    system.worker()  # It may send messages; the API goes on without, and reconciles as well.
    assert system.end_of(last)["status"] == "succeeded"


def test_job_is_submitted_though_its_record_cannot_be_read_then(system: System) -> None:
    """As where Redis goes away between the job's writing and the answer."""
    limited = told_to_be(system, "-hgetall")
    system.serve(env=limited)
    answer = system.http("POST", "/v1/jobs", {"prompt": PROMPT, "seed": 7, "metadata": {"order": "12"}})
    assert answer.status == 202, answer.body
    assert (answer.body["status"], answer.body["parameters"]["seed"]) == ("queued", 7)
    waited = system.http("POST", "/v1/jobs", {"prompt": PROMPT}, headers={"Prefer": "wait=5"})
    assert waited.status == 202, waited.body
    done = system.cli("submit", PROMPT, "--json", env=limited)
    assert done.returncode == 0, done.stdout + done.stderr
    system.redis().execute_command("ACL", "SETUSER", "limited", "allkeys", "+@all")  # type: ignore[no-untyped-call]
    job_ids = [answer.body["id"], waited.body["id"], json.loads(done.stdout)["id"]]
    system.worker()
    assert [system.end_of(job_id)["status"] for job_id in job_ids] == ["succeeded"] * 3

"""What a caller leaves behind is his own burden: neither his ended jobs nor his passed deadlines are felt by others."""

from __future__ import annotations

import json

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until

MIB = 1 << 20
LONG = "\N{LARGE RED CIRCLE}" * 4_000
DROPPED = ["--caller", "greedy", "--status", "canceled", "--json"]


def left_behind(system: System, key: str, count: int) -> list[str]:
    """Jobs that were submitted and canceled one by one, as far as they were taken."""
    ids = []
    for _ in range(count):
        answer = system.http("POST", "/v1/jobs", {"prompt": LONG, "negative_prompt": LONG, "guidance_scale": 2}, key)
        if answer.status == 202:
            ids.append(answer.body["id"])
            assert system.http("DELETE", f"/v1/jobs/{ids[-1]}", key=key).status == 200
    return ids


def test_who_submits_and_cancels_without_end_fills_redis_for_nobody(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    greedy, other = system.key("greedy", "--max-queued", "1"), system.key("other")
    with system.redis() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 6 * MIB)
    left = left_behind(system, greedy, 180)
    assert len(left) == 180
    system.submit(other)
    assert system.http("GET", f"/v1/jobs/{left[-1]}", key=greedy).status == 200
    assert system.http("GET", f"/v1/jobs/{left[0]}", key=greedy).status == 404
    dropped = system.cli("jobs", "drop", *DROPPED)
    assert dropped.returncode == 0, dropped.stderr
    assert json.loads(dropped.stdout)["dropped"] > 30
    assert system.http("GET", f"/v1/jobs/{left[-1]}", key=greedy).status == 404


def test_passed_deadlines_of_one_keep_nobody_waiting(make_system: MakeSystem) -> None:
    """Of as many as one has, few have ended when the other's has, who came last."""
    system = make_system(simulated())
    system.serve()
    many, other = system.key("many"), system.key("other")
    with system.redis() as client:
        client.set("imagemill:reconciler", "9-outsider", px=3_600_000)  # Nobody notices what is due until it has gone.
        lines = [{"prompt": "a cross", "deadline": 0.001} for _ in range(2_000)]
        batch = system.http("POST", "/v1/jobs/batch", lines, many).headers["location"].rsplit("/", 1)[1]
        last = system.submit(other, deadline=0.001)
        client.delete("imagemill:reconciler")
    counts = until("all have expired", lambda: _ended(system, batch, many))
    assert counts["expired"] == 2_000
    ended_at = system.job(last, other)["ended_at"]
    results = system.http("GET", f"/v1/jobs/batches/{batch}/results", key=many).body
    assert sum(each["job"]["ended_at"] < ended_at for each in results) < 600


def _ended(system: System, batch: str, key: str) -> dict[str, int] | None:
    answer = system.http("GET", f"/v1/jobs/batches/{batch}", key=key).body
    return dict(answer["counts"]) if answer["status"] == "ended" else None

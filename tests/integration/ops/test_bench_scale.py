"""What `./imagemill bench scale` writes down, with few jobs; how fast they are is not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from rich.console import Console

from ops.bench.system.redis_calls import RedisCalls
from ops.bench.system.scale import Effort, bench_scale


@pytest.mark.long  # Starts workers, three in all.
def test_fleet_that_grows_is_measured_and_its_calls_of_redis_are_counted(tmp_path: Path) -> None:
    # Twice the rows take nearly twice the time, so one job makes a pass.
    effort = Effort(rounds=1, workers=(1, 2), simulated="launch_s=0.002 row_s=0.03", steps=2, rows=1, bunches=24)
    report = bench_scale(effort, tmp_path, Console(quiet=True))
    assert (tmp_path / "scale.png").stat().st_size > 0
    written = json.loads((tmp_path / "scale.json").read_text("utf-8"))
    (one,), (two,) = (written["rounds"][name] for name in ("1 worker", "2 workers"))
    assert [len(each["shares"]) for each in (one, two)] == [1, 2]
    assert [sum(each["shares"]) for each in (one, two)] == [effort.bunches, 2 * effort.bunches]
    for each in (one, two):
        assert each["images_per_s"] > 0
        assert each["redis"]["by_command"]["evalsha"] >= 3, "at least a submission, a claim and an end"
        assert each["redis"]["by_command"]["hset"] > 3, "what scripts do is counted, too"
        assert each["cpu_ms"]["workers"] > 0
    assert {"2 workers ÷ 1 worker", "Redis commands of a job", "… EVALSHA"} <= {each.what for each in report.figures}


def test_commands_of_a_script_are_counted_beside_the_script(redis_client: redis.Redis) -> None:
    before = RedisCalls.so_far(redis_client)
    for _ in range(4):
        redis_client.evalsha(redis_client.script_load("return redis.call('INCR', KEYS[1])"), 1, "counter")
    found = RedisCalls.so_far(redis_client).since(before, jobs=2)
    assert (found.by_command["evalsha"], found.by_command["incr"]) == (2, 2)
    assert found.by_command["script|load"] == 2
    assert found.reads >= 4

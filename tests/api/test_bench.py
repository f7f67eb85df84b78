"""What `./imagemill bench api` writes down, in little time; how fast the API is, is not looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from jobs.errors import InvalidRequest
from ops.bench.api.api import Effort, bench_api, named


def test_reads_waiters_and_attacks_are_measured(tmp_path: Path) -> None:
    attacks = ("files that are too large",)
    effort = Effort(rounds=1, seconds=0.5, attack_s=1, jobs=10, attacks=attacks)
    report = bench_api(effort, tmp_path, Console(quiet=True))
    assert (tmp_path / "api.png").stat().st_size > 0
    rounds = json.loads((tmp_path / "api.json").read_text("utf-8"))["rounds"]
    assert all(each["most_per_s"] > 0 for found in rounds["reads"].values() for each in found)
    assert tuple(rounds["attacks"]) == attacks
    (found,) = rounds["attacks"][attacks[0]]
    assert (found["lost"], set(found["answered"])) == ([], {"422"})
    assert min(found["request_ms"], found["quiet_request_ms"], found["job_ms"], found["quiet_job_ms"]) > 0
    assert any(attacks[0] in each.what for each in report.figures)


def test_an_attack_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="there is no attack 'nonsense'"):
        named(["nonsense"])

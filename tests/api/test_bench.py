"""What `./imagemill bench api` writes down, in little time; how fast the API is, is not looked at."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from ops.bench.api.api import Effort, bench_api
from ops.bench.api.attacks import ATTACKS


def test_reads_waiters_and_attacks_are_measured(tmp_path: Path) -> None:
    effort = Effort(rounds=1, seconds=0.5, attack_s=1, jobs=10)
    report = bench_api(effort, tmp_path, Console(quiet=True))
    assert (tmp_path / "api.png").stat().st_size > 0
    rounds = json.loads((tmp_path / "api.json").read_text("utf-8"))["rounds"]
    assert all(each["most_per_s"] > 0 for found in rounds["reads"].values() for each in found)
    assert set(rounds["attacks"]) == {"nothing", *ATTACKS}
    assert all(each["failed"] == 0 for found in rounds["attacks"].values() for each in found)
    assert any("event streams" in each.what for each in report.figures)

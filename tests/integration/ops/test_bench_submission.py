"""What `./imagemill bench submit` writes down, with few jobs; how fast they are is not looked at."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from ops.bench.system.submission import BULK, SINGLE, bench_submission


def test_submission_is_measured_both_ways_and_a_waiting_job_is_small(tmp_path: Path) -> None:
    report = bench_submission(jobs=1_500, rounds=1, folder=tmp_path, console=Console(quiet=True))
    assert (tmp_path / "submit.png").stat().st_size > 0
    written = json.loads((tmp_path / "submit.json").read_text("utf-8"))
    assert set(written["rounds"]) == {BULK, SINGLE}
    assert all(each["jobs_per_s"] > 0 for found in written["rounds"].values() for each in found)
    sizes = written["rounds"][BULK][0]["bytes"]
    assert 500 < sizes["record"] < sizes["in all"] < 3_072
    assert next(each.is_met for each in report.figures if "in all" in each.what)

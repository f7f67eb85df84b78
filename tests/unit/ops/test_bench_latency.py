"""How streams of jobs become figures."""

from __future__ import annotations

from ops.bench.engine.latency import BATCHED, ENGINE, SINGLY, figures_of
from workers.bench.streams.simulation import Outcome


def outcome(*latencies_s: float) -> Outcome:
    return Outcome(latencies_s=list(latencies_s), makespan_s=10.0, images=len(latencies_s))


def test_ratios_are_taken_within_rounds_and_carry_their_targets() -> None:
    outcomes = {
        SINGLY: [outcome(2.0, 4.0), outcome(20.0, 40.0), outcome(2.0, 4.0)],
        BATCHED: [outcome(1.0, 2.0), outcome(10.0, 20.0), outcome(1.0, 2.0)],
        ENGINE: [outcome(0.5, 1.0), outcome(5.0, 10.0), outcome(0.5, 3.0)],
    }
    figures = {each.what: each for each in figures_of("real time", outcomes)}
    against_tutorial = figures[f"real time: p95, engine ÷ {SINGLY}"]
    assert (against_tutorial.value, against_tutorial.target, against_tutorial.is_met) == (0.25, 0.5, True)
    assert figures[f"real time: p95, engine ÷ {BATCHED}"].value == 0.5
    assert figures[f"real time: mean, {SINGLY}"].value == 3.0

"""How streams of mixed jobs become figures and tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ops.bench.engine.families import LAUNCH_BOUND, MEASURED, SATURATED, Measured, Streams, figures_of, stream_table
from workers.bench.streams.simulation import Outcome
from workers.bench.streams.ways import BATCHED, SINGLY, STEPWISE, UNLIKE


def outcome(*latencies_s: float) -> Outcome:
    return Outcome(latencies_s=list(latencies_s), makespan_s=10.0, images=len(latencies_s))


def a_model() -> Measured:
    outcomes = {
        STEPWISE: [outcome(1.0, 3.0), outcome(10.0, 30.0), outcome(1.0, 3.0)],
        BATCHED: [outcome(4.0, 5.0), outcome(40.0, 50.0), outcome(4.0, 5.0)],
        UNLIKE: [outcome(2.0, 4.0), outcome(20.0, 40.0), outcome(2.0, 4.0)],
        SINGLY: [outcome(2.0, 6.0), outcome(20.0, 60.0), outcome(2.0, 6.0)],
    }
    streams = Streams(rows=16, rate_per_s=2.5, outcomes=outcomes)
    return Measured(name="a", pass_s={1: 0.5}, streams=dict.fromkeys((MEASURED, LAUNCH_BOUND, SATURATED), streams))


def shown(table: Table) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_ratios_are_taken_within_rounds_and_carry_their_targets() -> None:
    figures = {each.what: each for each in figures_of(a_model())}
    launch_bound = figures[f"a, {LAUNCH_BOUND}: p95 ÷ {BATCHED}"]
    assert (launch_bound.value, launch_bound.target, launch_bound.is_met) == (0.6, 0.5, False)
    saturated = figures[f"a, {SATURATED}: mean ÷ {SINGLY}"]
    assert (saturated.value, saturated.target, saturated.is_met) == (0.5, 1.0, True)
    assert figures[f"a, {LAUNCH_BOUND}: p95 ÷ {UNLIKE}"].value == 0.75
    assert figures[f"a, {MEASURED}: p95 ÷ {BATCHED}"].is_met is None


def test_table_has_the_medians_of_each_way() -> None:
    (row,) = [line for line in shown(stream_table(LAUNCH_BOUND, [a_model()])).splitlines() if line.startswith("│ a ")]
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [
        "a", "16", "2.5", "0.2 1 3", "0.2 4 5", "0.2 2 4", "0.2 2 6",
    ]  # fmt: skip

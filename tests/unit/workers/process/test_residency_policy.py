"""Which model a device runs, loads and evicts, where more are served than it holds."""

from __future__ import annotations

from typing import Any

from ops.bench.engine.residency import WAYS, Effort, p95, simulate
from workers.process.residency.policy import (
    COPY_LOADS,
    IDLE_LOADS,
    PATIENCE_LOADS,
    Demand,
    Load,
    Look,
    Run,
    Waiting,
    choose,
    evicted,
)

LOAD_S = 30.0
GB = {"a": 10.0, "b": 10.0, "c": 10.0, "d": 20.0, "e": 40.0}
SHORT = Waiting(jobs=1, oldest_s=1.0)
LONG = Waiting(jobs=1, oldest_s=PATIENCE_LOADS * LOAD_S)


def look(**told: Any) -> Look:
    """A device of 20 GB that holds `a`, last used at 5 s, and `b`, at 9 s."""
    return Look(**{"loaded": {"a": 5.0, "b": 9.0}, "waiting": {}, "gb": GB, "room_gb": 20.0, "load_s": LOAD_S, **told})


def test_device_waits_where_nobody_does() -> None:
    assert choose(look()) is None


def test_what_is_loaded_runs_first_the_oldest_of_it() -> None:
    waiting = {"a": SHORT, "b": Waiting(jobs=1, oldest_s=2.0), "c": Waiting(jobs=9, oldest_s=100.0)}
    assert choose(look(waiting=waiting)) == Run(model="b")


def test_job_that_was_passed_over_for_long_is_loaded_for() -> None:
    assert choose(look(waiting={"a": SHORT, "c": LONG})) == Load(model="c", evicts=("b",))


def test_idle_device_loads_soon() -> None:
    soon = Waiting(jobs=1, oldest_s=IDLE_LOADS * LOAD_S)
    assert choose(look(waiting={"c": SHORT})) is None
    assert choose(look(waiting={"c": soon})) == Load(model="c", evicts=("a",))


def test_model_that_nobody_waits_for_makes_room_while_another_runs_and_one_with_jobs_does_not() -> None:
    soon = Waiting(jobs=1, oldest_s=IDLE_LOADS * LOAD_S)
    assert choose(look(waiting={"b": SHORT, "c": soon})) == Load(model="c", evicts=("a",))
    assert choose(look(waiting={"a": SHORT, "b": SHORT, "c": soon})) == Run(model="a")
    assert choose(look(waiting={"b": SHORT, "d": soon})) == Run(model="b")  # It takes the room of both.


def test_large_model_that_has_to_wait_keeps_no_small_one_from_the_room_that_there_is() -> None:
    late = Waiting(jobs=9, oldest_s=2 * IDLE_LOADS * LOAD_S)
    waiting = {"a": SHORT, "d": late, "c": Waiting(jobs=1, oldest_s=IDLE_LOADS * LOAD_S)}
    assert choose(look(loaded={"a": 5.0}, waiting=waiting)) == Load(model="c", evicts=())


def test_model_that_jobs_run_on_is_the_last_to_make_room_of_those_that_nobody_waits_for() -> None:
    assert evicted(look(demand={"b": 9.0}, in_use={"a"}), "c") == ("b",)


def test_what_lies_elsewhere_is_loaded_where_a_device_would_stand_still_and_jobs_have_waited() -> None:
    late = Waiting(jobs=5, oldest_s=COPY_LOADS * LOAD_S)
    soon = Waiting(jobs=5, oldest_s=COPY_LOADS * LOAD_S - 1)
    assert choose(look(waiting={"c": soon}, elsewhere={"c"})) is None
    assert choose(look(waiting={"c": late}, elsewhere={"c"})) == Load(model="c", evicts=("a",))
    assert choose(look(waiting={"c": late, "b": SHORT}, elsewhere={"c"})) == Run(model="b")
    assert choose(look(waiting={"c": late, "d": SHORT}, elsewhere={"c"})) is None  # The other one comes soon.


def test_what_fits_nowhere_is_not_loaded() -> None:
    assert choose(look(waiting={"e": LONG})) is None


def test_many_jobs_are_loaded_for_before_a_single_one() -> None:
    waiting = {"c": Waiting(jobs=9, oldest_s=40.0), "d": Waiting(jobs=1, oldest_s=60.0)}
    assert choose(look(waiting=waiting)) == Load(model="c", evicts=("a",))


def test_who_is_asked_for_stays_and_a_large_model_evicts_several() -> None:
    assert evicted(look(demand={"a": 3.0, "b": 1.0}), "c") == ("b",)
    assert evicted(look(waiting={"b": SHORT}, demand={"a": 3.0}), "c") == ("a",)
    assert evicted(look(), "d") == ("a", "b")
    assert evicted(look(loaded={"a": 5.0}), "c") == ()


def test_demand_halves_with_time() -> None:
    demand = Demand(LOAD_S)
    for _ in range(4):
        demand.note("a", 0.0)
    assert [round(demand.at(now_s)["a"], 6) for now_s in (0.0, 40 * LOAD_S, 80 * LOAD_S)] == [4.0, 2.0, 1.0]


def test_jobs_of_many_models_wait_less_than_by_the_least_recent_use() -> None:
    effort = Effort(hours=3.0)
    plain, better, _, ours = (simulate(effort, way) for way in WAYS.values())
    assert len(ours.all_s) == len(plain.all_s) == len(better.all_s)
    assert p95(ours.all_s) < p95(better.all_s) / 2
    assert all(p95(took_s) < 1.5 * p95(better.took_s[model]) for model, took_s in ours.took_s.items())

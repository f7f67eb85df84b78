"""Whose turn it is: the shortest remaining work, company that fits, and nobody for ever last."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers import tiny
from workers.engine.order import PATIENCE_FACTOR, PATIENCE_S, Active, choose
from workers.engine.run import Run
from workers.engine.ticket import Ticket
from workers.families.simulated import SimulatedRun

ENTRY = tiny.model("simulated")
ROW_S = 0.01
NOW_S = 1000.0


def remaining_s(run: Run) -> float:
    return run.passes_left * run.rows * ROW_S


def active(steps: int, *, n: int = 1, width: int = 16, waited_s: float = 0.0) -> Active:
    spec = tiny.spec(ENTRY, num_inference_steps=steps, n=n, guidance_scale=1.0, width=width)
    run = SimulatedRun(spec)
    return Active(ticket=Ticket(spec.model, spec), run=run, since=NOW_S - waited_s, work_s=remaining_s(run))


def patience_s(job: Active) -> float:
    return PATIENCE_S + PATIENCE_FACTOR * job.work_s


def chosen(jobs: list[Active], rows: int) -> list[Active]:
    return choose(jobs, NOW_S, remaining_s, lambda _run: rows)


JOBS = st.lists(
    st.builds(
        active,
        st.integers(1, 50),
        n=st.integers(1, 6),
        width=st.sampled_from([16, 32, 48]),
        waited_s=st.sampled_from([0.0, 0.5, 2.0, 10.0, 100.0]),
    ),
    min_size=1,
    max_size=12,
)


@given(JOBS, st.integers(1, 16))
def test_chosen_share_a_key_and_fit_unless_one_is_too_large_alone(jobs: list[Active], rows: int) -> None:
    batch = chosen(jobs, rows)
    assert len(set(map(id, batch))) == len(batch) >= 1
    assert all(any(each is job for job in jobs) for each in batch)
    assert len({each.run.share_key for each in batch}) == 1
    assert sum(each.run.rows for each in batch) <= rows or len(batch) == 1


@given(JOBS, st.integers(1, 16))
def test_first_is_the_oldest_overdue_or_else_the_one_with_least_left(jobs: list[Active], rows: int) -> None:
    first = chosen(jobs, rows)[0]
    overdue = [job for job in jobs if NOW_S - job.since > patience_s(job)]
    if overdue:
        assert first.since == min(job.since for job in overdue)
        assert any(first is job for job in overdue)
    else:
        assert remaining_s(first.run) == min(remaining_s(job.run) for job in jobs)


@given(JOBS, st.integers(1, 16))
def test_no_job_stays_behind_that_would_have_fitted(jobs: list[Active], rows: int) -> None:
    batch = chosen(jobs, rows)
    room = rows - sum(each.run.rows for each in batch)
    for job in jobs:
        if not any(job is each for each in batch) and job.run.share_key == batch[0].run.share_key:
            assert job.run.rows > room


def sized(width: int) -> Active:
    """One that shares passes with those of any size."""
    job = active(5, width=width)
    cast("SimulatedRun", job.run).share_key = "any size"
    return job


def test_pass_of_several_sizes_has_no_more_rows_than_one_of_the_largest_should_have() -> None:
    small, large = [sized(16) for _ in range(6)], sized(48)
    rows = {16: 6, 48: 3}

    def of_size(run: Run) -> int:
        return rows[cast("SimulatedRun", run).spec.width]

    def batch(*jobs: Active) -> list[Active]:
        return choose(jobs, NOW_S, remaining_s, of_size)

    assert batch(large, *small) == [large, *small[:2]]
    assert batch(*small[:2], large, *small[2:]) == [*small[:2], large]
    # It is behind those whose company it would cut short.
    assert batch(*small, large) == small


def test_equal_jobs_go_in_the_order_of_their_arrival() -> None:
    jobs = [active(5) for _ in range(6)]
    assert chosen(jobs, 4) == jobs[:4]


def test_job_that_has_begun_is_not_put_off_by_an_equal_one() -> None:
    new, begun = active(5), active(5)
    cast("SimulatedRun", begun.run).advance(None)
    assert chosen([new, begun], 1) == [begun]


def test_job_becomes_overdue_after_many_times_its_own_work() -> None:
    job = active(20)
    assert not job.is_overdue(job.since + patience_s(job) - 1e-6)
    assert job.is_overdue(job.since + patience_s(job) + 1e-6)

"""A worker whose memory is bounded, while one caller asks for the largest outputs that there are."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.errors import InvalidRequest
from jobs.table.states import Status
from producer import Job
from tests.faults.conftest import MakeSystem
from tests.faults.harness.memory import bounded
from tests.faults.harness.rows import Row
from tests.faults.harness.system import System
from tests.faults.harness.waiting import PATIENCE_S, until

BOUND_BYTES = 4 << 30
LARGE = 12


def submit_largest(system: System, count: int) -> list[Job]:
    """Jobs of one caller, each of the most pixels that are accepted, in the format that takes the most memory."""
    for side, n in ((8192, 4), (4096, 4), (2048, 4)):
        output = {"format": "webp", "resize": {"width": side, "height": side}}
        try:
            return system.submit(count, steps=1, n=n, output=output, caller="greedy")
        except InvalidRequest:
            continue
    raise AssertionError("no size was accepted")


def ended(jobs: Sequence[Job]) -> int:
    return sum(job.status().has_ended for job in jobs)


def test_worker_of_4_gib_while_one_caller_asks_for_the_largest_outputs(make_system: MakeSystem, row: Row) -> None:
    system = make_system()
    with bounded(BOUND_BYTES) as bound:
        worker = system.worker(prefix=bound.prefix)
        system.ready()
        large = submit_largest(system, LARGE)
        until("some of the largest have begun", lambda: system.counts_of_queue().running > 1)
        others = system.submit(12, caller="another")
        system.finish(others, 4 * PATIENCE_S)
        assert {job.status().status for job in others} == {Status.SUCCEEDED}
        until("one of the largest is done, too", lambda: ended(large), 4 * PATIENCE_S)
        for job in large:
            job.cancel()
        system.finish(large, 4 * PATIENCE_S)
        assert {job.status().status for job in large} <= {Status.SUCCEEDED, Status.CANCELED}
        assert not worker.printed("starting another"), "the worker was killed, or ended"
        row.note(largest_made=sum(job.status().status is Status.SUCCEEDED for job in large), peak_mib=bound.peak_mib)
        row.close(system, [*large, *others], injected=LARGE)
        system.close()

"""What the doctor makes of messages in Celery's lists."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.fleet.backlog import ListBacklog
from jobs.fleet.fleet import WorkerReport
from jobs.fleet.lists import list_of
from ops.doctor.finding import State
from ops.doctor.messages import judge_messages

KNOWN = ["gpu.shapes"]


def worker(**told: Any) -> WorkerReport:
    return WorkerReport(**{"name": "worker@a", "state": "ready", "models": ("shapes",), **told})


def backlog(queue: str, priority: int = 0, messages: int = 3) -> ListBacklog:
    return ListBacklog(queue=queue, priority=priority, key=list_of(queue, priority), messages=messages)


def test_messages_that_are_taken_are_well() -> None:
    (none,) = judge_messages([], [], KNOWN)
    assert (none.state, none.found) == (State.OK, "none; every list has a worker that receives from it")
    (some,) = judge_messages([backlog("gpu.shapes"), backlog("gpu.shapes", 9, 1_000)], [worker()], KNOWN)
    assert (some.state, some.found) == (State.OK, "1,003 in gpu.shapes; every list has a worker that receives from it")


@pytest.mark.parametrize(
    ("each", "workers", "advice"),
    [
        (backlog("gpu.nope"), [worker()], "use an existing queue: gpu.shapes"),
        (backlog("run.nope", 3), [worker()], "use an existing queue: gpu.shapes"),
        (backlog("gpu.shapes"), [], "Start a worker: ./imagemill worker --model shapes."),
        (backlog("run.shapes", 3), [worker(state="failed")], "Start a worker"),
        (backlog("run.shapes", 9), [worker()], "let their sender use the queue gpu.shapes"),
        (backlog("gpu.shapes"), [worker(adopts=False)], "Restart the workers that serve gpu.shapes"),
        (
            backlog("run.shapes", 3),
            [worker(state="detached", detached=("gpu.shapes",))],
            "Let a worker receive jobs of gpu.shapes again",
        ),
    ],
)
def test_messages_that_nobody_takes_are_a_failure_that_says_what_to_do(
    each: ListBacklog, workers: list[WorkerReport], advice: str
) -> None:
    (finding,) = judge_messages([each], workers, KNOWN)
    assert finding.state is State.FAILURE
    assert finding.found.startswith(f"3 messages in its list of priority {each.priority}")
    assert advice in finding.advice


def test_list_of_a_priority_is_named_as_a_shell_takes_it() -> None:
    (finding,) = judge_messages([backlog("run.shapes", 9)], [worker()], KNOWN)
    assert finding.check.isprintable()
    assert finding.advice.endswith("""DEL "$(printf 'run.shapes\\x06\\x169')".""")
    (plain,) = judge_messages([backlog("gpu.nope")], [worker()], KNOWN)
    assert plain.advice.endswith("DEL gpu.nope.")


def test_list_that_is_named_as_kombu_names_none_is_for_its_sender_to_mend() -> None:
    other = ListBacklog(queue="gpu.shapes", priority=None, key="gpu.shapes\x06\x1611", messages=3)
    (finding,) = judge_messages([other], [worker()], KNOWN)
    assert finding.state is State.FAILURE
    assert "let their sender use the priorities 0 to 9 of the queue gpu.shapes" in finding.advice

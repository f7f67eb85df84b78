"""What the doctor makes of notifications that are to be sent."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.table.outbox import OutboxCounts
from ops.doctor.finding import State
from ops.doctor.notifications import judge_notifications


def counts(**changed: Any) -> OutboxCounts:
    nothing: dict[str, Any] = {"waiting": 0, "put_off": 0, "given_up": 0, "overdue_s": 0.0, "oldest_s": 0.0}
    return OutboxCounts(**{**nothing, "history": {"told": 7}, **changed})


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (counts(), State.OK, "0 to be sent, 7 sent so far"),
        (counts(waiting=3, overdue_s=5, oldest_s=5), State.OK, "3 to be sent"),
        (
            counts(waiting=3, overdue_s=300, oldest_s=300),
            State.FAILURE,
            "no process has taken the first of them for 5 min",
        ),
        (counts(given_up=2), State.WARNING, "2 given up"),
        (counts(waiting=1, put_off=1, oldest_s=3600), State.WARNING, "1 could not be sent so far, the oldest for 60"),
    ],
)
def test_notifications_that_are_not_sent_are_seen(found: OutboxCounts, state: State, said: str) -> None:
    finding = judge_notifications("celery", found)
    assert (finding.check, finding.state) == ("notifications by celery", state)
    assert said in finding.found
    assert bool(finding.advice) is (state is not State.OK)

"""What uses a model is waited for before the model goes, and nothing begins to use it meanwhile."""

from __future__ import annotations

import threading

import pytest

from workers.attempt.errors import Draining
from workers.attempt.residents import Residents


def test_model_that_is_used_is_waited_for() -> None:
    residents = Residents(["small"])
    is_in, may_go = threading.Event(), threading.Event()

    def job() -> None:
        with residents.use("small"):
            is_in.set()
            may_go.wait()

    thread = threading.Thread(target=job)
    thread.start()
    is_in.wait()
    residents.retire("small")
    assert not residents.wait_unused(["small"], 0.0)
    with pytest.raises(Draining, match="small makes room for another model"), residents.use("small"):
        pytest.fail("it began")
    may_go.set()
    assert residents.wait_unused(["small"], 60)
    thread.join()
    assert residents.used_at() == {}


def test_model_that_came_back_can_be_used_and_one_that_was_never_there_cannot() -> None:
    used: list[str] = []
    residents = Residents(["small"], used.append)
    residents.retire("small")
    residents.add("small")
    with residents.use("small"), pytest.raises(Draining), residents.use("large"):
        pytest.fail("it began")
    assert used == ["small"]
    assert residents.used_at().keys() == {"small"}


def test_where_all_models_stay_any_can_be_used_and_a_job_without_one_too() -> None:
    for residents in (Residents(), Residents([])):
        with residents.use(None):
            pass
    with Residents().use("any"):
        pass

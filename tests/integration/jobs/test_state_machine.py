"""Any order of calls by several owners, some sent twice, by a model: docs/invariants.md, 1-9, 11-13, 16, 17."""

from __future__ import annotations

import pytest
import redis
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from tests.integration.jobs.machine import TableMachine
from tests.integration.jobs.model import MAX_ATTEMPTS, MAX_DELIVERIES, WINDOW
from tests.integration.jobs.notifiers import NotifiersMachine
from tests.integration.jobs.operators import OperatorsMachine
from tests.integration.jobs.steps import MakeJob


@pytest.mark.parametrize("machine", [OperatorsMachine, NotifiersMachine])
@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.long)])
def test_job_table_follows_its_model_in_any_order_of_calls(
    settings: Settings, a_job: MakeJob, machine: type[TableMachine], examples: int
) -> None:
    """Once without what comes from outside and goes out, so that what is left happens more often."""
    bounds = {"release_window": WINDOW, "max_attempts": MAX_ATTEMPTS, "max_deliveries": MAX_DELIVERIES}
    bounded = settings.model_copy(update=bounds)
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        dispatcher = Dispatcher(make_app(bounded), JobTable(client, bounded), bounded)
        fields = {"settings": bounded, "a_job": staticmethod(a_job), "dispatcher": dispatcher}
        run_state_machine_as_test(
            type("Machine", (machine,), fields),
            settings=hypothesis_settings(max_examples=examples, stateful_step_count=60),
        )

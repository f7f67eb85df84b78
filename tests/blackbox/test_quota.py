"""How many jobs a caller may have in the queue holds at every door, and is said in the same words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import PROMPT, QUEUE, generate
from tests.blackbox.system import PATIENCE_S, System, simulated


def with_a_paused_queue(system: System) -> System:
    system.serve()
    system.worker()
    assert system.cli("queue", "pause", QUEUE).returncode == 0
    return system


def refusal(system: System, **fields: Any) -> str:
    """What a sender with Celery alone hears of one request."""
    task = generate(system.celery(), fields).apply_async()
    with pytest.raises(Exception) as caught:
        task.get(timeout=PATIENCE_S)
    assert system.redis().hget(f"imagemill:job:{task.id}", "status") == "failed"
    return str(caught.value)


def test_sender_over_the_quota_hears_what_http_says(make_system: MakeSystem) -> None:
    system = with_a_paused_queue(make_system(simulated(), {"IMAGEMILL_MAX_QUEUED": "1"}))
    system.submit()
    refused = system.http("POST", "/v1/jobs", {"prompt": PROMPT})
    assert refused.status == 429
    assert refused.body["error"]["message"] in refusal(system)


def test_quota_of_a_key_holds_for_messages_that_name_its_caller(make_system: MakeSystem) -> None:
    system = with_a_paused_queue(make_system(simulated()))
    key = system.key("blog", "--max-queued", "1")
    system.submit(key=key)
    refused = system.http("POST", "/v1/jobs", {"prompt": PROMPT}, key)
    assert refused.status == 429
    assert refused.body["error"]["message"] in refusal(system, caller="blog")

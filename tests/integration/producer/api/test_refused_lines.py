"""What a request took is free again when it is answered."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from jobs.errors import ImagemillError
from ops.programs import Api
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.test_upload_memory import memory_mib

BATCHES, AT_A_TIME, LINES, NAME_CHARS = 24, 4, 100, 60_000
MOST_GROWTH_MIB = 50
JSON_LINES = {"Content-Type": "application/jsonl"}


def refused_lines(count: int, name_chars: int) -> bytes:
    """Each has a field with a long name that there is not."""
    return "\n".join(json.dumps({"custom_id": str(number), "x" * name_chars: 1}) for number in range(count)).encode()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def errors_that_are_kept() -> list[ImagemillError]:
    """By what they are: what some library puts in place of an object has the class of another, and warns of it."""
    return [each for each in gc.get_objects() if issubclass(type(each), ImagemillError)]


def test_lines_that_are_refused_leave_nothing_to_the_garbage_collector(api: TestClient, no_collector: None) -> None:
    of_others = {id(each) for each in errors_that_are_kept()}
    answer = api.post("/v1/jobs/batch", content=refused_lines(20, 100), headers=JSON_LINES)
    assert answer.status_code == 200
    assert answer.text.count("invalid_request") == 20
    assert [each for each in errors_that_are_kept() if id(each) not in of_others] == []


@pytest.mark.long
def test_memory_of_the_api_does_not_grow_with_the_lines_that_it_refuses(process: Api) -> None:
    batch = refused_lines(LINES, NAME_CHARS)
    with httpx.Client(base_url=process.url, trust_env=False, timeout=DEADLINE_S) as client:

        def send(_: int) -> None:
            assert client.post("/v1/jobs/batch", content=batch, headers=JSON_LINES).status_code == 200

        with ThreadPoolExecutor(AT_A_TIME) as threads:
            before = memory_mib(process, "VmRSS")
            list(threads.map(send, range(BATCHES)))
    assert memory_mib(process, "VmHWM") - before < MOST_GROWTH_MIB

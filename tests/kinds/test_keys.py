"""A key that is for some models may use kinds that these run, and none that runs without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.system import System
from tests.kinds.asking import COUNT, SKETCH, post
from tests.kinds.conftest import a_system


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[System]:
    """An API that wants keys; nobody runs the jobs."""
    with a_system(tmp_path_factory.mktemp("closed"), cache_dir) as system:
        system.serve()
        yield system


def test_a_key_for_a_model_runs_kinds_of_that_model_alone(closed: System) -> None:
    limited, free = closed.key("limited", "--model", "sim"), closed.key("free")
    for path in ("/v1/jobs", "/v1/jobs?dry_run=true"):
        refused = closed.http("POST", path, COUNT, limited)
        assert (refused.status, refused.body["error"]) == (
            403,
            {
                "code": "kind_not_allowed",
                "field": "kind",
                "message": "kind: this key may only use the models sim, and 'count' uses none",
            },
        )
    lines = closed.http("POST", "/v1/jobs/batch", [COUNT, SKETCH], limited).body
    assert [line["error"] and line["error"]["code"] for line in lines] == ["kind_not_allowed", None]
    post(closed, SKETCH, limited)
    job = post(closed, COUNT, free)
    assert closed.http("GET", f"/v1/jobs/{job}", key=limited).status == 404
    for key, queues in ((limited, {"gpu.sim"}), (free, {"gpu.sim", "any.count"})):
        assert {each["queue"] for each in closed.http("GET", "/v1/queues", key=key).body["data"]} == queues

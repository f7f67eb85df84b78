"""Both kinds come through every door."""

from __future__ import annotations

from tests.blackbox.system import System
from tests.kinds.conftest import INPUT, INPUT_KEY


def test_http_takes_a_kind_without_a_model_and_its_result_stands_in_data(system: System) -> None:
    answer = system.http("POST", "/v1/jobs", {"kind": "count", "text": "one two three"})
    assert answer.status == 202, answer.body
    assert (answer.body["kind"], answer.body["queue"], answer.body["model"]) == ("count", "any.count", None)
    job = system.end_of(answer.body["id"])
    assert (job["status"], job["data"], job["images"], job["artifacts"]) == ("succeeded", {"words": 3}, [], [])
    assert job["progress"] == 1.0


def test_http_takes_a_kind_with_an_input_and_shows_both_its_artifacts(system: System) -> None:
    answer = system.http("POST", "/v1/jobs", {"kind": "sketch", "prompt": "a house", "image": INPUT_KEY})
    assert answer.status == 202, answer.body
    assert (answer.body["kind"], answer.body["queue"], answer.body["model"]) == ("sketch", "gpu.sim", "sim")
    job = system.end_of(answer.body["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["data"] == {"after_bytes": len(INPUT)}
    (image,), (outline,) = job["images"], job["artifacts"]
    assert image["content_type"] == "image/png"
    assert (outline["name"], outline["content_type"], outline["points"]) == ("outline", "application/json", 4)

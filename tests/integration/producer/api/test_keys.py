"""What a key allows: so many jobs, so often, these models; `test_isolation` has what it does not show."""

from __future__ import annotations

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from jobs.table.table import JobTable
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.sse import listening

BODY = {"prompt": "a large red circle on a blue background"}


@pytest.fixture
def blog(keys: KeyStore) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create('blog')[0]}"}


def test_limits_of_a_key_are_answered_by_their_names(api: TestClient, keys: KeyStore) -> None:
    narrow = {"x-api-key": keys.create("narrow", max_queued=1)[0]}
    assert api.post("/v1/jobs", json=BODY, headers=narrow).status_code == 202
    full = api.post("/v1/jobs", json=BODY, headers=narrow)
    assert (full.status_code, full.json()["error"]["code"], full.headers["retry-after"]) == (429, "quota_exceeded", "5")
    rare = {"x-api-key": keys.create("rare", rate="1/hour")[0]}
    assert api.get("/v1/models", headers=rare).status_code == 200
    often = api.get("/v1/models", headers=rare)
    assert (often.status_code, often.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    other = {"x-api-key": keys.create("other", models=["dreams"])[0]}
    assert api.get("/v1/models", headers=other).json()["data"] == []
    refused = api.post("/v1/jobs", json=BODY, headers=other)
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, "model")
    signed = api.post("/v1/jobs", json={**BODY, "caller": "blog"}, headers=other)
    assert (signed.status_code, signed.json()["error"]["field"]) == (422, "caller")


def test_key_for_some_models_is_told_of_no_other(api: TestClient, keys: KeyStore) -> None:
    """Not by the refusal of a name that there is not, either."""
    other = {"x-api-key": keys.create("other", models=["dreams"])[0]}
    told = []
    for model in ("shapes-flow", "nothing"):
        for path in ("/v1/jobs", "/v1/jobs?dry_run=true", "/v1/images/generations"):
            refused = api.post(path, json={**BODY, "model": model}, headers=other)
            assert refused.status_code == 403, refused.text
            told.append(refused.text.replace(model, "MODEL"))
        (line,) = api.post("/v1/jobs/batch", json=[{**BODY, "model": model}], headers=other).text.splitlines()
        told.append(line.replace(model, "MODEL"))
    assert told[:4] == told[4:]
    assert "shapes-flow" not in "".join(told)


def test_stream_is_open_to_its_own_key(replica: str, table: JobTable, blog: dict[str, str]) -> None:
    job = httpx.post(f"{replica}/v1/jobs", json=BODY, headers=blog, trust_env=False, timeout=DEADLINE_S).json()
    table.cancel(job["id"])
    with listening(job["events_url"], headers=blog) as told:
        assert [each.event for each in told] == ["completed"]

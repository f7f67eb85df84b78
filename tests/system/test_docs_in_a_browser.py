"""The API's own page at /docs: it needs nothing from elsewhere, and what is tried out there is really done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.table.states import Status
from ops.programs import Api
from producer import Client
from tests.system.browser import Browser
from tests.system.conftest import DEADLINE_S

pytestmark = pytest.mark.long  # Chromium takes as much as the whole system.


@pytest.fixture
def docs(browser: Browser, api: Api) -> Browser:
    browser.errors()
    assert browser.open(f"{api.url}/docs") == 200
    browser.find(".opblock", "Submit a job")
    return browser


def test_page_loads_without_a_network(docs: Browser, api: Api) -> None:
    assert docs.requested()
    assert [url for url in docs.requested() if not url.startswith(api.url)] == []
    assert not docs.errors()


def test_job_is_submitted_by_trying_it_out_and_is_in_the_list(docs: Browser, api: Api, system: Client) -> None:
    sent = try_out(docs, "Submit a job")
    job = system.job(sent["id"])
    assert job.wait(DEADLINE_S).status is Status.SUCCEEDED
    listed = try_out(docs, "List jobs")
    assert sent["id"] in [each["id"] for each in listed["data"]]
    assert not docs.errors()


def try_out(browser: Browser, operation: str) -> dict[str, Any]:
    """Press what a person presses; returns the body of the answer."""
    block = f"#{browser.find('.opblock', operation).get_attribute('id')}"
    for button in (".opblock-summary-control", ".try-out__btn", ".execute"):
        browser.click(f"{block} {button}")
    body: dict[str, Any] = json.loads(browser.text(f"{block} .live-responses-table .highlight-code code"))
    return body

"""Flower as an operator has it: in a browser, behind a password; what is pressed there happens here."""

from __future__ import annotations

import pytest
from celery import Celery

from jobs.table.states import Status
from ops.process import wait_until
from ops.programs import Api, Flower
from ops.stack import worker_is_ready
from producer import Client, Job
from tests.system.browser import Browser
from tests.system.conftest import DEADLINE_S, ask_flower

pytestmark = pytest.mark.long  # Chromium takes as much as the whole system; test_flower.py asks without it.

QUEUE, LINE = "gpu.shapes-flow", "run.shapes-flow"
_ROW = "#tasks-table tbody tr"
_TABLE_AND_FRAME = ("#tasks-table", "div:has(> #tasks-table)")
_PRESS_FROM_ELSEWHERE = """
return fetch('{url}', {{method: 'POST', mode: 'no-cors', credentials: 'include'}}).then(answer => answer.type)
"""


@pytest.fixture
def logged_in(browser: Browser, flower: Flower) -> Browser:
    """A browser that has given the password once, in the address, and keeps it."""
    login = (flower.login or "").replace(" ", "%20")
    assert browser.open(flower.url.replace("://", f"://{login}@")) == 200
    browser.errors()
    return browser


def test_login_is_needed(browser: Browser, flower: Flower) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers"):
        assert browser.open(f"{flower.url}{path}") == 401, path
    assert browser.open(flower.url.replace("://", "://operator:wrong@")) == 401
    assert "worker@" not in browser.run("return document.documentElement.outerHTML")


def test_worker_and_its_queue_are_shown(logged_in: Browser, flower: Flower) -> None:
    logged_in.open(f"{flower.url}/workers")
    logged_in.find("#workers-table tbody tr", "Online")
    logged_in.click("#workers-table .worker-name-link")
    logged_in.find("#workername", "worker@")
    logged_in.click("#worker-tab-queues")
    logged_in.find("#worker-queues tr", LINE)
    assert_all_is_well(logged_in, flower)


def test_queue_and_what_waits_in_it_are_shown(logged_in: Browser, flower: Flower, system: Client) -> None:
    jobs = system.submit_many({"prompt": "a red circle", "num_inference_steps": 100} for _ in range(60))
    logged_in.open(f"{flower.url}/broker")
    waiting = logged_in.find("#queue-table tbody tr", LINE).text.split()
    assert waiting[0] == LINE
    assert int(waiting[1]) > 0
    for job in jobs:
        job.cancel()
    assert_all_is_well(logged_in, flower)


def test_running_and_finished_jobs_are_shown_with_a_line_of_their_own(
    logged_in: Browser, flower: Flower, system: Client
) -> None:
    finished = system.submit("a large red circle on a blue background", num_inference_steps=2)
    finished.wait(DEADLINE_S)
    with Celery("elsewhere", broker=system.parts.settings.redis_url, set_as_current=False) as app:
        request = {"prompt": "a cyan ring", "num_inference_steps": 2}
        sent = app.send_task("imagemill.generate", kwargs=request, queue=QUEUE)
    assert wait_until(lambda: ask_flower(flower, f"/api/task/info/{sent.id}") is not None, DEADLINE_S)
    running = running_job(system, flower)
    logged_in.open(f"{flower.url}/tasks")
    logged_in.until("the running job is on top", lambda: running.id in logged_in.text(_ROW))
    assert logged_in.text(_ROW).startswith("shapes-flow 128×128 100 steps “a green square” STARTED")
    assert logged_in.find(_ROW, finished.id).text.startswith("shapes-flow 128×128 2 steps “a large red circle on")
    assert "SUCCESS" in logged_in.find(_ROW, finished.id).text
    assert "a cyan ring" in logged_in.find(_ROW, "a cyan ring").text
    table, frame = (logged_in.run(f"return document.querySelector('{css}').offsetWidth") for css in _TABLE_AND_FRAME)
    assert table <= frame, "columns are cut off"
    running.cancel()
    assert_all_is_well(logged_in, flower)


def test_job_revoked_there_is_canceled_here(logged_in: Browser, flower: Flower, system: Client) -> None:
    job = running_job(system, flower)
    logged_in.open(f"{flower.url}/tasks")
    logged_in.click(f"{_ROW} a", job.id)
    assert "a green square" in logged_in.text("#task-page")
    logged_in.click("#task-terminate")
    logged_in.find(".toast-body", job.id)
    record = job.wait(DEADLINE_S)
    assert record.status is Status.CANCELED
    assert not record.images
    logged_in.until("the page says so", lambda: shows_as(logged_in, flower, job, "REVOKED"))
    assert_all_is_well(logged_in, flower)


def test_page_of_another_origin_cannot_revoke_in_a_browser_that_is_logged_in(
    logged_in: Browser, flower: Flower, api: Api, system: Client
) -> None:
    system.parts.control.pause(QUEUE)
    try:
        job = system.submit("a green square")
        logged_in.open(f"{api.url}/health")
        logged_in.run(_PRESS_FROM_ELSEWHERE.format(url=f"{flower.url}/api/task/revoke/{job.id}"))
        # It answers in turn: a revocation before this has been done by now.
        assert wait_until(lambda: worker_is_ready(system.parts.settings), DEADLINE_S)
        assert job.status().status is Status.QUEUED
        job.cancel()
    finally:
        system.parts.control.resume(QUEUE)


def running_job(system: Client, flower: Flower) -> Job:
    """One that would take long, once its steps have begun and Flower, whose list stays as it was opened, knows it."""
    job = system.submit("a green square", num_inference_steps=100, n=4)
    assert wait_until(lambda: job.status().stage is not None, DEADLINE_S)
    assert wait_until(lambda: is_known_as_started(flower, job), DEADLINE_S)
    return job


def is_known_as_started(flower: Flower, job: Job) -> bool:
    known = ask_flower(flower, f"/api/task/info/{job.id}")
    return known is not None and known["state"] == "STARTED"


def shows_as(browser: Browser, flower: Flower, job: Job, state: str) -> bool:
    browser.open(f"{flower.url}/task/{job.id}")
    return state in browser.text("#task-page")


def assert_all_is_well(browser: Browser, flower: Flower) -> None:
    """The page has loaded everything, and all of it from here."""
    elsewhere = [url for url in browser.requested() if not url.startswith(flower.url)]
    assert not elsewhere
    assert not browser.errors()

"""Log lines as JSON: one object a line, the job's id in all that a thread does for it, whoever writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

SCRIPT = """
import logging, sys, threading
import structlog
from structlog.contextvars import bound_contextvars
from jobs.process.logs import configure_logging

configure_logging(logging.INFO, sys.argv[1])
log = structlog.get_logger()
log.info("ready", slots=3)
with bound_contextvars(job_id="a-job"):
    log.warning("upload failed", attempt=2)
    logging.getLogger("botocore").warning("a library's line, with %s", "an argument")
    thread = threading.Thread(target=lambda: log.info("another thread's"))
    thread.start()
    thread.join()
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("bug in the worker")
log.info("nöxt")
log.debug("not shown")
"""


def lines(form: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, form]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_each_line_is_an_object_with_time_level_and_event() -> None:
    objects: list[dict[str, Any]] = [json.loads(line) for line in lines("json")]
    assert [each["event"] for each in objects] == [
        "ready",
        "upload failed",
        "a library's line, with an argument",
        "another thread's",
        "bug in the worker",
        "nöxt",
    ]
    assert [each["level"] for each in objects] == ["info", "warning", "warning", "info", "error", "info"]
    assert all(datetime.fromisoformat(each["timestamp"]).utcoffset() is not None for each in objects)
    assert (objects[0]["slots"], objects[1]["attempt"]) == (3, 2)
    assert "ZeroDivisionError" in objects[4]["exception"]


def test_job_that_a_thread_works_for_is_in_its_lines_alone() -> None:
    found = [json.loads(line).get("job_id") for line in lines("json")]
    assert found == [None, "a-job", "a-job", None, "a-job", None]


def test_text_has_the_job_too() -> None:
    text = lines("text")
    assert sum("job_id=a-job" in line for line in text) == 3
    assert text[0].endswith("ready slots=3")

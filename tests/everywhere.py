"""
What tests have wherever they run, also where Celery, Redis and boto3 are not installed: see `tests/borrowed`.

A plugin of pytest for runs without `tests/conftest.py`, which has it all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from jobs.catalogue.catalogue import Catalogue

# How long an example takes to make, or to try, is the machine's to say, and asserted nowhere.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")

# How many examples a property is tried with: few in the loop of a change, many in `make test-properties`.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("long", deadline=None, max_examples=200)
hypothesis.settings.load_profile("quick")

_THREAD_ENDS_S = 20.0
_POLL_INTERVAL_S = 0.01


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings are no part of a test."""
    for name in [name for name in os.environ if name.startswith("IMAGEMILL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """What a test starts in this process ends with it: a later one may count threads, or meet it at work."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _THREAD_ENDS_S
    for thread in set(threading.enumerate()) - before:
        if thread.name == "tqdm_monitor":  # Of the library, one for the process.
            continue
        while thread.ident is None and time.monotonic() < deadline:  # It is about to start.
            time.sleep(_POLL_INTERVAL_S)
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"the test left a thread running: {thread.name}"


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.read(Path(__file__).parent.parent / "models.toml")

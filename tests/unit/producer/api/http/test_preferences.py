"""How long a client would like to wait."""

from __future__ import annotations

import pytest

from producer.api.http.preferences import asked_wait_s


@pytest.mark.parametrize(
    "prefer", ["wait=7", "respond-async, wait=7", "WAIT=7", 'wait="7"', "wait = 7; x", "wait=7, wait=9", " wait=7 "]
)
def test_wait_is_found_among_other_preferences(prefer: str) -> None:
    assert asked_wait_s(prefer) == 7


@pytest.mark.parametrize("prefer", [None, "", "wait", "wait=soon", "wait=-1", "await=7", "wait=", "wait=7.5", "wait=٧"])
def test_anything_else_is_no_wait(prefer: str | None) -> None:
    assert asked_wait_s(prefer) == 0

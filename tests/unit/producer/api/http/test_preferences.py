"""How long a client would like to wait."""

from __future__ import annotations

import pytest

from producer.api.http.preferences import requested_wait_s


@pytest.mark.parametrize(
    "prefer", ["wait=7", "respond-async, wait=7", "WAIT=7", 'wait="7"', "wait = 7; x", "wait=7, wait=9", " wait=7 "]
)
def test_wait_is_found_among_other_preferences(prefer: str) -> None:
    assert requested_wait_s([prefer]) == 7


@pytest.mark.parametrize(
    "prefer",
    ["", "wait", "foo; wait=7", 'foo="a, wait=7"', "wait=soon", "wait=-1", "await=7", "wait=", "wait=7.5", "wait=٧"],
)
def test_anything_else_is_no_wait(prefer: str) -> None:
    assert requested_wait_s([prefer]) == 0


def test_wait_is_found_in_any_of_several_headers() -> None:
    assert requested_wait_s(["respond-async", "handling=lenient, wait=7", "wait=9"]) == 7
    assert requested_wait_s([]) == 0


def test_wait_of_any_length_is_a_long_one() -> None:
    assert requested_wait_s(["wait=" + "9" * 5_000]) == 999_999_999

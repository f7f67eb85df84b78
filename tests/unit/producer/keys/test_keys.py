"""Keys and rates as they are written down."""

from __future__ import annotations

import re

import pytest

from jobs.errors import InvalidRequest
from producer.keys.key import hash_token, make_key, new_token
from producer.keys.rates import parse_rate


def test_token_is_recognisable_and_has_256_random_bits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"im_[0-9a-f]{64}", token) for token in tokens)


def test_record_holds_of_the_token_its_hash_and_how_it_begins() -> None:
    token = new_token()
    key = make_key(token, name="blog", created_at=1.0)
    assert (key.token_hash, key.hint) == (hash_token(token), token[:7])
    assert token not in key.model_dump_json()
    assert "token_hash" not in key.public()


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "with space"), ("name", ""), ("name", "a:b"), ("max_queued", 0), ("models", ()), ("max_queued", "many")],
)
def test_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        make_key(new_token(), **{"name": "blog", "created_at": 1.0, field: value})
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/second", "10/second"),
        ("10 per minute", "10/minute"),
        ("100/15 minutes", "100/15 minute"),
        (" 1/ day ", "1/day"),
        ("10000/hour", "10000/hour"),
    ],
)
def test_rate_is_kept_in_one_form(text: str, rate: str) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(rate) == rate


@pytest.mark.parametrize("text", ["often", "", "0/second", "10001/day", "10/s", "-1/second", "1/fortnight"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^rate: ") as raised:
        parse_rate(text)
    assert raised.value.field == "rate"


@pytest.mark.parametrize("text", ["5/second; 10/minute", "5/second,10/minute"])
def test_two_rates_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="one rate"):
        parse_rate(text)

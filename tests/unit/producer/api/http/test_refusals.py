"""What HTTP says of a refused request."""

from __future__ import annotations

import pytest

from jobs.errors import ImagemillError, InvalidRequest, NotServed, QuotaExceeded, RedisFull
from producer.api.http.refusals import refusal_of
from producer.keys import errors

CASES: list[tuple[ImagemillError, int, dict[str, str]]] = [
    (errors.KeyRefused("no"), 401, {"WWW-Authenticate": 'Bearer realm="imagemill"'}),
    (errors.ModelNotAllowed("sdxl", ("shapes",)), 403, {}),
    (errors.KindNotAllowed("count", ("shapes",)), 403, {}),
    (errors.RateExceeded("1/minute", 59.2), 429, {"Retry-After": "60"}),
    (errors.RateExceeded("10/second", 0.1), 429, {"Retry-After": "1"}),
    (errors.TooManyConnections("blog", 5), 429, {"Retry-After": "1"}),
    (errors.TooManyBytes("blog", 5), 429, {"Retry-After": "1"}),
    (errors.TooManyBatches("blog", 5), 429, {"Retry-After": "5"}),
    (errors.TooManyUploads("blog", 5), 429, {"Retry-After": "5"}),
    (errors.TooManyUploads(None, 64), 429, {"Retry-After": "5"}),
    (QuotaExceeded("blog", 5), 429, {"Retry-After": "5"}),
    (RedisFull("full"), 429, {"Retry-After": "10"}),
    (NotServed("model", "shapes"), 503, {"Retry-After": "10"}),
]


@pytest.mark.parametrize(("exc", "status", "headers"), CASES)
def test_refused_request_is_told_why_and_when_to_come_back(
    exc: ImagemillError, status: int, headers: dict[str, str]
) -> None:
    refusal = refusal_of(exc)
    assert refusal is not None
    assert (refusal.status, dict(refusal.headers)) == (status, headers)


def test_every_error_of_a_key_has_an_answer() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type) and each.__module__ == errors.__name__}
    assert kinds
    assert kinds <= {type(exc) for exc, _, _ in CASES}


def test_other_errors_are_not_answered_here() -> None:
    assert refusal_of(InvalidRequest("prompt", "is missing")) is None

"""How long a link of the API holds."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from producer.api.keys.permits import PERMIT, permits, permitted
from producer.keys.key import ApiKey, make_key, new_token

PATH = "/v1/jobs/one/images/0"


@pytest.fixture
def key() -> ApiKey:
    return make_key(new_token(), name="blog", created_at=0.0)


def told_by(link: str) -> tuple[int, str]:
    """Until when it holds, and its permit."""
    (permit,) = parse_qs(urlsplit(link).query)["permit"]
    assert re.fullmatch(PERMIT, permit)
    return int(permit.partition(".")[0]), permit


@pytest.mark.parametrize("expiry_s", [1, 7, 3_600, 86_401])
def test_link_holds_for_half_of_its_time_at_least_and_never_longer_than_all(
    key: ApiKey, expiry_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in range(1_000_000_000, 1_000_000_020):
        made_at = moment + 0.25
        monkeypatch.setattr(time, "time", lambda made_at=made_at: made_at)
        expires, permit = told_by(permitted(PATH, key, expiry_s))
        assert expiry_s / 2 <= expires - made_at <= expiry_s + 1
        assert permits(PATH, key, permit)
        monkeypatch.setattr(time, "time", lambda expires=expires: float(expires))
        assert not permits(PATH, key, permit)


def test_link_stays_the_same_for_a_while_so_that_it_is_fetched_once(
    key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = set()
    for made_at in range(1_000_000_000, 1_000_003_600, 60):
        monkeypatch.setattr(time, "time", lambda made_at=made_at: float(made_at))
        links.add(permitted(PATH, key, 3_600))
    assert len(links) <= 3


def test_another_key_and_another_path_have_another_signature(key: ApiKey) -> None:
    expires, permit = told_by(permitted(PATH, key, 3_600))
    other = make_key(new_token(), name="blog", created_at=0.0)
    assert permits(PATH, key, permit)
    assert not permits(PATH, other, permit)
    assert not permits(f"{PATH}/thumbnail", key, permit)
    assert not permits(PATH, key, permit.replace(str(expires), str(expires + 1)))

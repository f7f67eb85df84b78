from __future__ import annotations

import pytest

from jobs.process.settings import Settings
from jobs.scripts.limits import Times, limits_of, times_of

DEFAULT = Times(pass_s=0.5, lock_s=1.5, look_after_s=5.0, look_again_s=20.0, look_lost_s=1.5)


def test_times_are_these_at_the_default_lease() -> None:
    assert times_of(Settings().lease_s) == DEFAULT


@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_times_follow_the_lease(factor: float) -> None:
    times = times_of(factor * Settings().lease_s)
    for name in Times.__slots__:
        assert getattr(times, name) == factor * getattr(DEFAULT, name), name


@pytest.mark.parametrize("lease_s", [1e-9, 0.4, 1.0, 8.0, 60.0, 3_600.0, 1e300])
def test_times_have_bounds_and_an_order(lease_s: float) -> None:
    times = times_of(lease_s)
    assert 0.1 <= times.pass_s < times.lock_s <= 6
    assert times.pass_s < times.look_lost_s < times.look_after_s < times.look_again_s <= 120


def test_limits_are_those_of_the_settings() -> None:
    settings = Settings(release_window=3, retention_s=60, lease_s=16.0)
    assert limits_of(settings) == {"window": 3, "retention_s": 60, "look_after_s": 10.0, "look_lost_s": 3.0}

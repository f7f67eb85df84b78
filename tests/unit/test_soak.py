"""What the soak takes for growth without an end, on series that are made up; and that it is not blind unawares."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import redis

from tests.soak.__main__ import verdicts_of
from tests.soak.growth import LEAST_POINTS, judge, slope
from tests.soak.samples import Sampler
from tests.soak.stage import OTHER, STEADY

HOUR_S, EVERY_S = 3_600, 15
MOMENTS = range(0, HOUR_S, EVERY_S)


def noise(size: float) -> list[float]:
    dice = random.Random(7)
    return [dice.gauss(0, size) for _ in MOMENTS]


def grows(values: Sequence[float], floor: float = 2.0) -> bool:
    return judge(list(zip(MOMENTS, values, strict=True)), floor).is_growing


STILL: dict[str, Sequence[float]] = {
    "nothing": [100.0 for _ in MOMENTS],
    "noise": [100 + each for each in noise(3)],
    "caches that fill at first": [150 - 50 * math.exp(-at / 600) for at in MOMENTS],
    "a step in the first half": [100 + 60 * (at > 1_500) for at in MOMENTS],
    "a log that is rewritten": [20 + at % 450 / 10 for at in MOMENTS],
    "a process that is started again": [100 + at % 900 / 60 for at in MOMENTS],
    "single peaks": [100 + 400 * (at % 1_200 == 0) for at in MOMENTS],
    "less than the floor": [1 + at / HOUR_S for at in MOMENTS],
    "falling": [200 - at / 60 for at in MOMENTS],
}
GROWING: dict[str, Sequence[float]] = {
    "a leak": [100 + 12 * at / HOUR_S for at in MOMENTS],
    "a leak in noise": [100 + 20 * at / HOUR_S + each for at, each in zip(MOMENTS, noise(2), strict=True)],
    "a leak with every round": [100 + 3 * (at // 450) for at in MOMENTS],
    "a leak below a log that is rewritten": [20 + at % 450 / 10 + at / 60 for at in MOMENTS],
    "a leak that begins in the middle": [100 + max(0, at - 1_500) / 60 for at in MOMENTS],
    "a leak that doubles": [100 + 2 ** (at / 450) for at in MOMENTS],
}


@pytest.mark.parametrize("name", STILL)
def test_what_ends_is_no_growth(name: str) -> None:
    assert not grows(STILL[name])


@pytest.mark.parametrize("name", GROWING)
def test_what_does_not_end_is_growth(name: str) -> None:
    assert grows(GROWING[name])


def test_slope_is_not_moved_by_a_few_values() -> None:
    line = [(float(at), 5.0 + 2 * at) for at in range(40)]
    line[7], line[20] = (7.0, 1e6), (20.0, -1e6)
    assert slope(line) == pytest.approx(2)


def test_too_few_points_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="too few"):
        judge([(float(at), 1.0) for at in range(LEAST_POINTS - 1)], 1.0)


def test_worker_that_is_started_again_and_again_is_not_judged_as_one_process() -> None:
    grows = list(zip(MOMENTS, GROWING["a leak"], strict=True))
    verdicts = dict(verdicts_of({f"{name} rss_mib": grows for name in ("api", STEADY, OTHER, f"{OTHER}'s supervisor")}))
    assert {name: each.is_growing for name, each in verdicts.items()} == {
        "api rss_mib": True,
        f"{STEADY} rss_mib": True,
    }


def test_soak_whose_samples_end_early_is_none(tmp_path: Path) -> None:
    def pids() -> Mapping[str, int | None]:
        raise OSError("no more files")

    sampler = Sampler(tmp_path / "samples.csv", 0.01, pids, redis.Redis(), {})
    sampler.start()
    sampler.join()
    with pytest.raises(RuntimeError, match="nothing is sampled any more"):
        sampler.check()
    with pytest.raises(RuntimeError):
        sampler.stop()

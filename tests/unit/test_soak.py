"""What the soak takes for growth without an end, on series that are made up; and that it is not blind unawares."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import redis

from ops.process import wait_until
from tests.soak.__main__ import Outcome, report, verdicts_of
from tests.soak.growth import LEAST_POINTS, LEAST_ROUNDS, Verdict, is_trend, judge, levels, slope
from tests.soak.samples import Sampler
from tests.soak.stage import OTHER, STEADY

HOUR_S, EVERY_S = 3_600, 15
MOMENTS = range(0, HOUR_S, EVERY_S)
ROUND_S = 590  # No multiple of how often is looked.
ROUNDS = [float(at) for at in range(0, HOUR_S, ROUND_S)]


def noise(size: float) -> list[float]:
    dice = random.Random(7)
    return [dice.gauss(0, size) for _ in MOMENTS]


def phase(at: float) -> float:
    """Where in its round a moment is, from 0 to 1."""
    return at % ROUND_S / ROUND_S


def wave(at: float) -> float:
    """What comes and goes with the rounds: 0 for most of them, up to 1 in the middle."""
    return max(0.0, math.sin(2 * math.pi * (phase(at) - 0.25)))


def verdict(values: Sequence[float], floor: float = 2.0) -> Verdict:
    return judge(list(zip(MOMENTS, values, strict=True)), ROUNDS, floor)


STILL: dict[str, Sequence[float]] = {
    "nothing": [100.0 for _ in MOMENTS],
    "noise": [100 + each for each in noise(3)],
    "caches that fill at first": [150 - 50 * math.exp(-at / 600) for at in MOMENTS],
    "a step in the first half": [100 + 60 * (at > 1_500) for at in MOMENTS],
    "a step in the middle": [100 + 60 * (at > 1_900) for at in MOMENTS],
    "a step in the last round but one": [100 + 60 * (at > 2_600) for at in MOMENTS],
    "a step in the last round": [100 + 60 * (at > 3_200) for at in MOMENTS],
    "a log that is rewritten": [20 + at % 450 / 10 for at in MOMENTS],
    "a process that is started again": [100 + at % 900 / 60 for at in MOMENTS],
    "single peaks": [100 + 400 * (at % 1_200 == 0) for at in MOMENTS],
    "single peaks that rise": [100 + at / 4 * (at % 600 == 0) for at in MOMENTS],
    "less than the floor": [1 + at / HOUR_S for at in MOMENTS],
    "falling": [200 - at / 60 for at in MOMENTS],
    "rounds": [2_000 + 28_000 * wave(at) for at in MOMENTS],
    "rounds that are higher and lower": [2_000 + (28_000 + 4_000 * (at // ROUND_S % 2)) * wave(at) for at in MOMENTS],
    "rounds after a first that is low": [(2_000 + 28_000 * wave(at)) * (0.3 + 0.7 * (at > 500)) for at in MOMENTS],
    "rounds in which little goes on": [0.0 if wave(at) < 0.9 else 40.0 for at in MOMENTS],
}
# By which of their levels they are to be seen.
GROWING: dict[str, tuple[Sequence[float], str]] = {
    "a leak": ([100 + 12 * at / HOUR_S for at in MOMENTS], "median"),
    "a leak in noise": ([100 + 20 * at / HOUR_S + each for at, each in zip(MOMENTS, noise(2), strict=True)], "median"),
    "a leak with every round": ([100 + 3 * (at // ROUND_S) for at in MOMENTS], "median"),
    "a leak below a log that is rewritten": ([20 + at % 450 / 10 + at / 60 for at in MOMENTS], "lower"),
    "a leak that begins in the middle": ([100 + max(0, at - 1_500) / 60 for at in MOMENTS], "median"),
    "a leak that begins in the last round but one": ([100 + max(0, at - 2_500) / 60 for at in MOMENTS], "high"),
    "a leak that doubles": ([100 + 2 ** (at / 450) for at in MOMENTS], "median"),
    "a leak below rounds": ([100 + 500 * wave(at) + 20 * at / HOUR_S for at in MOMENTS], "low"),
    "a leak below rounds that begins late": (
        [100 + 500 * wave(at) + max(0, at - 2_000) / 60 for at in MOMENTS],
        "low",
    ),
    "troughs": ([400 if phase(at) < 0.85 else 100 + 20 * (at // ROUND_S) for at in MOMENTS], "low"),
    "peaks": ([100 if phase(at) < 0.85 else 400 + 40 * (at // ROUND_S) for at in MOMENTS], "high"),
    "what lies between": (
        [100 if phase(at) < 0.4 else 900 if phase(at) > 0.6 else 300 + 30 * (at // ROUND_S) for at in MOMENTS],
        "median",
    ),
    "peaks that last longer each time": (
        [100 + 400 * (phase(at) < 0.3 + 0.1 * (at // ROUND_S)) + 0.01 * at for at in MOMENTS],
        "low",
    ),
    "rounds that swing wider": ([100 + 300 * wave(at) * (1 + at / HOUR_S) for at in MOMENTS], "high"),
}


@pytest.mark.parametrize("name", STILL)
def test_what_ends_is_no_growth(name: str) -> None:
    assert not verdict(STILL[name]).growing


@pytest.mark.parametrize("name", GROWING)
def test_what_does_not_end_is_growth(name: str) -> None:
    values, level = GROWING[name]
    assert level in verdict(values).growing


@pytest.mark.parametrize("name", ("troughs", "peaks"))
def test_growth_is_seen_at_the_level_that_has_it_and_no_other(name: str) -> None:
    values, level = GROWING[name]
    assert verdict(values).growing == [level]


@pytest.mark.parametrize("start", range(0, ROUND_S, 59))
def test_rounds_are_no_growth_wherever_in_one_the_samples_begin(start: int) -> None:
    """What slopes over halves and quarters of the hour took them for."""
    values = [2_000 + 28_000 * wave(at + start) for at in MOMENTS]
    assert not verdict(values, floor=50).growing


@pytest.mark.parametrize("seed", range(40))
def test_rounds_with_noise_are_no_growth(seed: int) -> None:
    dice = random.Random(seed)
    high = [dice.gauss(28_000, 2_000) for _ in range(7)]
    values = [2_000 + high[int(at // ROUND_S)] * wave(at) + dice.gauss(0, 300) for at in MOMENTS]
    assert not verdict(values, floor=50).growing


def test_rounds_are_as_long_as_they_are() -> None:
    """A machine that is busy takes longer for some."""
    begun, at = [], 0.0
    for seconds in (500, 700, 450, 650, 520, 600, 100):
        begun.append(at)
        at += seconds
    ends = [*begun[1:], at]

    def value(moment: float) -> float:
        begin, end = next(each for each in zip(begun, ends, strict=True) if each[0] <= moment < each[1])
        return 2_000 + 28_000 * max(0.0, math.sin(math.pi * (moment - begin) / (end - begin)))

    points = [(float(moment), value(moment)) for moment in range(0, 3_500, EVERY_S)]
    assert not judge(points, begun, 50).growing


def test_round_that_has_not_ended_is_not_judged() -> None:
    points = [(float(at), 100.0 if at < ROUNDS[-1] else 1e6) for at in MOMENTS]
    assert [each.high for _, each in levels(points, ROUNDS)] == [100.0] * (len(ROUNDS) - 1)


def test_levels_of_a_round_are_not_moved_by_one_value() -> None:
    values = [float(value) for value in range(21)]
    values[3], values[16] = -1e6, 1e6
    [(middle, found)] = levels(list(zip(range(21), values, strict=True)), [0.0, 21.0])
    assert (middle, *found) == (10.5, 1.0, 5.0, 10.0, 15.0, 19.0)


def test_slope_is_not_moved_by_a_few_values() -> None:
    line = [(float(at), 5.0 + 2 * at) for at in range(40)]
    line[7], line[20] = (7.0, 1e6), (20.0, -1e6)
    assert slope(line) == pytest.approx(2)


def test_five_in_order_are_a_trend_and_four_are_not() -> None:
    assert is_trend([1, 2, 3, 4, 5])
    assert not is_trend([1, 2, 3, 4])
    assert not is_trend([1, 2, 4, 3, 5])
    assert is_trend([1, 1, 1, 2, 3])


def test_trend_in_many_rounds_bears_some_that_fall() -> None:
    values = [float(value) for value in range(20)]
    values[4:6], values[12:14] = values[5:3:-1], values[13:11:-1]
    assert is_trend(values)


@pytest.mark.parametrize("rounds", (ROUNDS[:LEAST_ROUNDS], [ROUNDS[0], *(3_590.0 + at for at in range(9))]))
def test_too_few_rounds_are_no_verdict(rounds: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=f"too few to judge by; it takes {LEAST_ROUNDS}"):
        judge([(float(at), 1.0) for at in MOMENTS], rounds, 1.0)


def test_round_with_too_few_points_is_none() -> None:
    points = [(float(at), 1.0) for at in range(LEAST_POINTS - 1)]
    assert not list(levels(points, [0.0, 100.0]))


def test_worker_that_is_started_again_and_again_is_not_judged_as_one_process() -> None:
    grows = list(zip(MOMENTS, GROWING["a leak"][0], strict=True))
    series = {f"{name} rss_mib": grows for name in ("api", STEADY, OTHER, f"{OTHER}'s supervisor")}
    verdicts = dict(verdicts_of(series, ROUNDS))
    assert {name: each.is_growing for name, each in verdicts.items()} == {
        "api rss_mib": True,
        f"{STEADY} rss_mib": True,
    }


def test_report_says_which_level_grows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    verdicts = {"api rss_mib": verdict(GROWING["troughs"][0])}
    outcome = Outcome(verdicts=verdicts, lost=[], left={}, noted={})
    report(outcome)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if "GROWS" in line] == ["low"]
    assert "NOT WELL" in printed
    outcome.write(tmp_path / "soak.json")
    assert json.loads((tmp_path / "soak.json").read_text())["series"]["api rss_mib"]["growing"] == ["low"]


def test_report_says_that_growth_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    report(Outcome(verdicts={}, lost=[], left={}, noted={}))
    assert f"growth is not judged: that takes {LEAST_ROUNDS} whole rounds" in capsys.readouterr().out


def test_soak_whose_samples_end_early_is_none(tmp_path: Path) -> None:
    def pids() -> Mapping[str, int | None]:
        raise OSError("no more files")

    sampler = Sampler(tmp_path / "samples.csv", 0.01, pids, dict, redis.Redis(), {})
    sampler.start()
    sampler.join()
    with pytest.raises(RuntimeError, match="nothing is sampled any more"):
        sampler.check()
    with pytest.raises(RuntimeError):
        sampler.stop()


def test_what_redis_has_no_more_counts_as_nothing(tmp_path: Path, redis_client: redis.Redis) -> None:
    """It would be judged by the moments alone in which there was something."""
    redis_client.rpush("imagemill:waiting:one", 1, 2, 3)
    sampler = Sampler(tmp_path / "samples.csv", 0.01, dict, dict, redis_client, {})
    sampler.start()
    waiting = sampler.series["redis waiting entries"]
    assert wait_until(lambda: bool(waiting), 60)
    redis_client.delete("imagemill:waiting:one")
    assert wait_until(lambda: waiting[-1][1] == 0, 60)
    sampler.stop()
    assert waiting[0][1] == 3

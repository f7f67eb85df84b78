"""`python -m tests.soak --minutes 60`: soak, print what has grown and what was lost, exit 1 for either."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.settings import CHECKOUT
from tests.celery_sender import celery_sender
from tests.soak.growth import LEAST_ROUNDS, Points, Verdict, judge, levels
from tests.soak.load import Caller, Ledger
from tests.soak.rotation import Rotation
from tests.soak.samples import FLOORS, Sampler, entries
from tests.soak.stage import OTHER, STEADY, Stage

_EVERY_S = 15.0
_SAMPLES = 60  # at least, of a soak that is short
_RETENTION_S = (60, 120)
_LONG_MINUTES = 50  # From then on there have to be rounds enough for growth to be judged.
_MOST_LONGER = 0.5  # of the time that was asked for
_LOG_EVERY_S = 60.0
_PATIENCE_S = 300.0
_FOLLOWED = ("job", "events", "batch", "batch_jobs", "deadlines", "expiring", "jobs")  # gone with the jobs
# One is not ours; the other is another process every few minutes, and the first ones are no measure for the last. What
# grows in a worker grows in the one that is never hurt.
_NOT_JUDGED = ("s3", OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    Of a soak.

    Attributes:
        verdicts: Of each series that was long enough; none where growth is not judged.
        lost: What should not have been; empty if all is well.
        left: What Redis still had of jobs when all of them should have been forgotten.
        noted: What was done, and what was answered.
    """

    verdicts: Mapping[str, Verdict]
    lost: list[str]
    left: Mapping[str, int]
    noted: Mapping[str, object]

    @property
    def growing(self) -> list[str]:
        """Series that grow without an end."""
        return [name for name, each in self.verdicts.items() if each.is_growing]

    @property
    def is_well(self) -> bool:
        """Whether nothing grew, was lost or was left."""
        return not (self.growing or self.lost or self.left)

    def write(self, file: Path) -> None:
        """As JSON."""
        verdicts = {name: asdict(each) | {"growing": each.growing} for name, each in self.verdicts.items()}
        content = {"is_well": self.is_well, "lost": self.lost, "left": self.left, **self.noted, "series": verdicts}
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False), "utf-8")


def soak(minutes: float, results: Path, data: Path) -> Outcome:
    """Do it, and leave `samples.csv` in a folder."""
    is_long = minutes >= _LONG_MINUTES
    ledger, retention_s = Ledger(), _RETENTION_S[is_long]
    every_s = min(_EVERY_S, 60 * minutes / _SAMPLES)
    with Stage(data, retention_s) as stage, ExitStack() as cleanup:
        app = cleanup.enter_context(celery_sender(stage.system.redis_server.url))
        api = stage.system.api
        assert api is not None, "the stage has none"
        callers = [Caller(name, stage.key(name), api, app, ledger) for name in ("reader", "writer")]
        rotation = Rotation(stage, 60 * minutes)
        sampler = Sampler(results / "samples.csv", every_s, stage.pids, stage.pools, stage.redis, stage.folders)
        sampler.start()
        for each in callers:
            each.start()
        rotation.start()
        _go_on(60 * minutes, lambda: is_long and len(rotation.begun) <= LEAST_ROUNDS, ledger, sampler)
        rotation.stop()
        sampler.stop()
        for each in callers:
            each.stop()
        left = _left(stage, retention_s)
        noted = {
            "ended": ledger.ended,
            "refused": ledger.refused,
            "done": rotation.done,
            "broken": rotation.broken,
            "answered": rotation.answered,
            "started_again": stage.started_again,
            "rounds_begun_s": (rounds := [round(moment - sampler.begun, 1) for moment in rotation.begun]),
        }
        lost = ledger.lost + [f"the {STEADY} has ended by itself"] * stage.started_again[STEADY]
        if is_long and len(rounds) <= LEAST_ROUNDS:
            lost.append(f"{len(rounds) - 1} whole rounds are too few for growth to be judged")
        return Outcome(verdicts=dict(verdicts_of(sampler.series, rounds)), lost=lost, left=left, noted=noted)


def _go_on(seconds: float, takes_longer: Callable[[], bool], ledger: Ledger, sampler: Sampler) -> None:
    """Nothing is waited for: it is to go on for so long, and on a slow machine until the rounds are enough to judge."""
    end = time.monotonic() + seconds
    last = end + _MOST_LONGER * seconds
    while (left_s := end - time.monotonic()) > 0 or (takes_longer() and time.monotonic() < last):
        time.sleep(min(_LOG_EVERY_S, left_s) if left_s > 0 else _LOG_EVERY_S)
        sampler.check()
        ended, lost = ledger.ended.total(), len(ledger.lost)
        to_go = f"{left_s / 60:.0f} minutes" if left_s > 0 else "a part of the last round"
        print(f"{to_go} to go: {ended} jobs have ended, {lost} are lost", flush=True)  # noqa: T201


def verdicts_of(series: Mapping[str, Points], rounds: Sequence[float]) -> Iterator[tuple[str, Verdict]]:
    """Of each series that is to be judged, and long enough; `rounds`: when each began."""
    for name, points in sorted(series.items()):
        if len(list(levels(points, rounds))) >= LEAST_ROUNDS and not name.startswith(_NOT_JUDGED):
            yield name, judge(points, rounds, FLOORS[name.rsplit(" ", 1)[1]])


def _left(stage: Stage, retention_s: int) -> dict[str, int]:
    """When nothing is asked for any more, and for as long as records are kept, and a while."""
    end = time.monotonic() + retention_s + _PATIENCE_S
    while time.monotonic() < end:
        counted = entries(stage.redis)
        if not any(counted[kind] for kind in _FOLLOWED):
            break
        time.sleep(1)
    return {kind: counted[kind] for kind in _FOLLOWED if counted[kind]}


def report(outcome: Outcome) -> None:
    """Print it."""
    if not outcome.verdicts:
        print(f"growth is not judged: that takes {LEAST_ROUNDS} whole rounds")  # noqa: T201
    for name, each in outcome.verdicts.items():
        print(name)  # noqa: T201
        for level, trend in each.trends.items():
            values = "".join(f"{getattr(one, level):>12.2f}" for one in each.rounds)
            rates = f"{trend.per_hour:>12.2f} an hour{trend.late_per_hour:>12.2f} late"
            print(f"  {level:8}{values}{rates}{'  GROWS' if trend.is_growing else ''}")  # noqa: T201
    for name, noted in outcome.noted.items():
        print(f"{name}: {json.dumps(noted, ensure_ascii=False)}")  # noqa: T201
    for what in outcome.lost[:50]:
        print(f"LOST {what}")  # noqa: T201
    for kind, count in outcome.left.items():
        print(f"LEFT {count} of {kind}")  # noqa: T201
    print("all is well" if outcome.is_well else "NOT WELL")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "build" / "soak", help="where the results go")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that nothing is left behind.
    data = Path(tempfile.mkdtemp(prefix="imagemill-soak-"))
    try:
        outcome = soak(asked.minutes, asked.folder, data)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    outcome.write(asked.folder / "soak.json")
    report(outcome)
    sys.exit(0 if outcome.is_well else 1)


if __name__ == "__main__":
    main()

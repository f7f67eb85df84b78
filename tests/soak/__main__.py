"""`python -m tests.soak --minutes 60`: soak, print what has grown and what was lost, exit 1 for either."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.settings import CHECKOUT
from tests.celery_sender import celery_sender
from tests.soak.growth import LEAST_POINTS, Points, Verdict, judge
from tests.soak.load import Caller, Ledger
from tests.soak.rotation import Rotation
from tests.soak.samples import FLOORS, Sampler, entries
from tests.soak.stage import OTHER, STEADY, Stage

_EVERY_S = 15.0
_RETENTION_S = (60, 120)
_LONG_MINUTES = 20  # Before, everything still fills: it is shown, and not judged.
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
        verdicts: Of each series that was long enough.
        lost: What should not have been; empty if all is well.
        left: What Redis still had of jobs when all of them should have been forgotten.
        noted: What was done, and what was answered.
        is_long: Whether it was long enough for growth to be judged.
    """

    verdicts: Mapping[str, Verdict]
    lost: list[str]
    left: Mapping[str, int]
    noted: Mapping[str, object]
    is_long: bool

    @property
    def growing(self) -> list[str]:
        """Series that grow without an end, if it was long enough to say so."""
        return [name for name, each in self.verdicts.items() if self.is_long and each.is_growing]

    @property
    def is_well(self) -> bool:
        """Whether nothing grew, was lost or was left."""
        return not (self.growing or self.lost or self.left)

    def write(self, file: Path) -> None:
        """As JSON."""
        verdicts = {name: asdict(each) for name, each in self.verdicts.items()}
        content = {"is_well": self.is_well, "lost": self.lost, "left": self.left, **self.noted, "series": verdicts}
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False), "utf-8")


def soak(minutes: float, results: Path, data: Path) -> Outcome:
    """Do it, and leave `samples.csv` in a folder."""
    is_long = minutes >= _LONG_MINUTES
    ledger, retention_s = Ledger(), _RETENTION_S[is_long]
    every_s = min(_EVERY_S, 60 * minutes / LEAST_POINTS / 1.5)
    with Stage(data, retention_s) as stage, ExitStack() as cleanup:
        app = cleanup.enter_context(celery_sender(stage.system.redis_server.url))
        api = stage.system.api
        assert api is not None, "the stage has none"
        callers = [Caller(name, stage.key(name), api, app, ledger) for name in ("reader", "writer")]
        rotation = Rotation(stage, 60 * minutes)
        sampler = Sampler(results / "samples.csv", every_s, stage.pids, stage.redis, stage.folders)
        sampler.start()
        for each in callers:
            each.start()
        rotation.start()
        _go_on(60 * minutes, ledger, sampler)
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
        }
        lost = ledger.lost + [f"the {STEADY} has ended by itself"] * stage.started_again[STEADY]
        return Outcome(verdicts=dict(verdicts_of(sampler.series)), lost=lost, left=left, noted=noted, is_long=is_long)


def _go_on(seconds: float, ledger: Ledger, sampler: Sampler) -> None:
    """Nothing is waited for: it is to go on for so long."""
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        time.sleep(min(_LOG_EVERY_S, left_s))
        sampler.check()
        ended, lost = ledger.ended.total(), len(ledger.lost)
        print(f"{left_s / 60:.0f} minutes to go: {ended} jobs have ended, {lost} are lost", flush=True)  # noqa: T201


def verdicts_of(series: Mapping[str, Points]) -> Iterator[tuple[str, Verdict]]:
    """Of each series that is to be judged, and long enough."""
    for name, points in sorted(series.items()):
        if len(points) >= LEAST_POINTS and not name.startswith(_NOT_JUDGED):
            yield name, judge(points, FLOORS[name.rsplit(" ", 1)[1]])


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
    rows: list[tuple[str, ...]] = [("", "median", "an hour", "late, an hour", "most of 2nd quarter", "of last", "")]
    for name, each in outcome.verdicts.items():
        numbers = (each.median, each.per_hour, each.late_per_hour, each.second_max, each.last_max)
        rows.append(
            (
                name,
                *(f"{number:.2f}" for number in numbers),
                "" if not each.is_growing else "GROWS" if outcome.is_long else "too short",
            )
        )
    for row in rows:
        print(f"{row[0]:36}" + "".join(f"{cell:>20}" for cell in row[1:]))  # noqa: T201
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

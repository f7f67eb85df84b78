"""The file of results: what was measured on which machine, and what did not fit; written anew with each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from jobs.errors import InvalidConfiguration

FILE = "gpu.json"

Ending = Literal["measured", "out of memory", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    A measurement.

    Attributes:
        run: Its place in the file's `runs`, which have device, versions and date.
        reason: Why there are no values, in a line.
        seconds: That measuring took.
        peak_gib: Of the device's memory meanwhile; None on a CPU.
        values: What was found; empty where nothing was.
    """

    key: str
    ending: Ending
    run: int
    at: str
    seconds: float
    peak_gib: float | None = None
    reason: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


class Results:
    """
    All rows so far, by key.

    Args:
        file: Where they are kept.
        runs: What earlier runs were made on.
        rows: Of earlier runs.
    """

    def __init__(self, file: Path, runs: list[dict[str, Any]], rows: list[Row]) -> None:
        self.file = file
        self.runs = runs
        self.rows = {each.key: each for each in rows}

    @classmethod
    def begin(cls, file: Path, surroundings: Mapping[str, Any]) -> Self:
        """
        Results of a first run.

        Raises:
            InvalidConfiguration: There are some already.
        """
        if file.exists():
            raise InvalidConfiguration(
                f"--folder: {file} has results; add --resume to continue them, or name another folder"
            )
        return cls(file, [dict(surroundings)], [])

    @classmethod
    def resume(cls, file: Path, surroundings: Mapping[str, Any]) -> Self:
        """
        Results that go on; of a first run where there are none yet.

        Raises:
            InvalidConfiguration: The file is none of ours, or its rows are of another device or other versions.
        """
        if not file.exists():
            return cls.begin(file, surroundings)
        try:
            content = json.loads(file.read_text("utf-8"))
            runs, rows = list(content["runs"]), [Row(**each) for each in content["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise InvalidConfiguration(f"--resume: {file} has no results that can be read; move it away") from exc
        before, now = (_compared(each) for each in (runs[-1], surroundings))
        if before != now:
            raise InvalidConfiguration(
                f"--resume: {file} was measured on {before}, and here is {now}; name another folder with --folder"
            )
        return cls(file, [*runs, dict(surroundings)], rows)

    def is_settled(self, key: str) -> bool:
        """Whether there is nothing to try again: it was measured, or memory was short."""
        return key in self.rows and self.rows[key].ending != "failed"

    def value(self, key: str, name: str) -> Any:
        """One of a row's values; None where it is not known."""
        return self.rows[key].values.get(name) if key in self.rows else None

    def add(self, key: str, ending: Ending, seconds: float, **found: Any) -> Row:
        """Take a row of this run in, in the place of an earlier one, and write the file."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = Row(key=key, ending=ending, run=len(self.runs) - 1, at=at, seconds=round(seconds, 2), **found)
        self.rows[key] = row
        self._write()
        return row

    def _write(self) -> None:
        content = {"runs": self.runs, "rows": [asdict(each) for each in self.rows.values()]}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        partial.replace(self.file)  # Whoever ends us meanwhile leaves the file whole.


def _compared(surroundings: Mapping[str, Any]) -> str:
    """What has to be equal for rows to be compared with each other."""
    versions = surroundings["versions"]
    return f"{surroundings['device']['name']} with torch {versions['torch']} and diffusers {versions['diffusers']}"

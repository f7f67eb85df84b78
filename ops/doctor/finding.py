"""What a check found, and the one way to run a check: whatever goes wrong in it becomes a finding, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from jobs.errors import ImagemillError, InvalidConfiguration
from storage.errors import StorageError, StorageMisconfigured

CORRECT = "Correct the setting, where the environment is set."


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    INFORMATION = "information"
    """Neither right nor wrong."""
    UNCHECKED = "not checked"
    """It could not be checked, because something before it failed or is missing."""
    WARNING = "warning"
    """It works, but not for long, or not as expected."""
    FAILURE = "failure"
    """Jobs are refused, lost, or never run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What one check found.

    Attributes:
        check: What was checked, e.g. "Redis version".
        found: A sentence for a person, without secrets.
        advice: What to do about it; empty where there is nothing to do.
    """

    check: str
    state: State
    found: str
    advice: str = ""


def attempt(check: str, run: Callable[[], Finding]) -> Finding:
    """Run one check; an error in it is a finding of that check, and hides none of the others."""
    return attempt_all(check, lambda: [run()])[0]


def attempt_all(check: str, run: Callable[[], list[Finding]]) -> list[Finding]:
    """The same for a check of several findings."""
    try:
        return run()
    except (ImagemillError, StorageError) as exc:
        advice = CORRECT if isinstance(exc, InvalidConfiguration | StorageMisconfigured) else ""
        return [Finding(check=check, state=State.FAILURE, found=str(exc), advice=advice)]
    except Exception as exc:  # noqa: BLE001 - a bug in one check must not hide what the others found
        found = f"the check itself failed: {type(exc).__name__}: {exc}"
        return [
            Finding(
                check=check, state=State.FAILURE, found=found, advice="This is a bug in Imagemill: please report it."
            )
        ]


def unchecked(checks: Iterable[str], why: str) -> list[Finding]:
    """Findings of checks that could not be made."""
    return [Finding(check=check, state=State.UNCHECKED, found=why) for check in checks]

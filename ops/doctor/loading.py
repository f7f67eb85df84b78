"""Loads models for the check of them, in a process of its own: torch takes seconds, and a model its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from ops.doctor.finding import Finding, State
from ops.doctor.models import CATALOGUE
from ops.settings import CHECKOUT

_MODEL = "model "
_LOADED = "a worker would load it"


def with_loading(findings: Sequence[Finding]) -> list[Finding]:
    """
    What the check of models found, and of each model at which it found nothing wrong, whether it loads.

    A model of the hub is downloaded for that. The text of a finding is then what a worker would say.
    """
    names = [name for each in findings if (name := _model_of(each))]
    if not names:
        return list(findings)
    command = [sys.executable, "-m", "workers.process.trial", *names]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    said = {each["model"]: each["fault"] for each in map(json.loads, done.stdout.splitlines())}
    return [_judged(each, said, done) if _model_of(each) else each for each in findings]


def _model_of(finding: Finding) -> str | None:
    """Whose model is to be loaded; None where something is wrong already, or it has nothing to load."""
    is_sound = finding.state in (State.OK, State.INFORMATION)
    if finding.check == CATALOGUE or not finding.check.startswith(_MODEL) or not is_sound:
        return None
    return finding.check.removeprefix(_MODEL)


def _judged(finding: Finding, said: dict[str, str | None], done: subprocess.CompletedProcess[str]) -> Finding:
    name = finding.check.removeprefix(_MODEL)
    if name not in said:
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        found = f"it could not be tried whether it loads: {last}"
        advice = "Run this where torch is installed, as a worker has it, and memory is as large as the model."
        return replace(finding, state=State.UNCHECKED, found=found, advice=advice)
    if (fault := said[name]) is None:
        return replace(finding, found=f"{finding.found}; {_LOADED}")
    found, _, advice = fault.rpartition("; ")
    advice = f"{advice[0].upper()}{advice[1:]}." if found else ""
    return replace(finding, state=State.FAILURE, found=found or fault, advice=advice)

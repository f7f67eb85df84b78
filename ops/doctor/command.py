"""The command: look, show, and say by the exit code whether anything failed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict

from ops.doctor.diagnosis import diagnose, has_failed
from ops.doctor.finding import Finding
from ops.doctor.loading import with_loading
from ops.doctor.models import check_models
from ops.doctor.report import show
from producer.cli.output.terminal import Terminal, print_json


def doctor(flower_url: str | None, *, as_json: bool) -> int:
    """
    Look at everything that the system stands on.

    Args:
        flower_url: Where Flower is; None for the address of the settings, or the local stack's.
        as_json: One finding a line, instead of a table.

    Returns:
        The exit code: 1 when a check failed.
    """
    return _look(lambda: diagnose(flower_url), as_json=as_json)


def check(name: str | None, *, loads: bool = False, as_json: bool) -> int:
    """
    Look at the catalogue and the files of its models, or of one of them, as the doctor does among others.

    Args:
        name: Of the model; None for all.
        loads: Load each as a worker does, on the processor, in a process of its own.
        as_json: One finding a line, instead of a table.

    Returns:
        The exit code: 1 when no worker would start with a model that was looked at.
    """
    return _look(lambda: [with_loading(check_models(name)) if loads else check_models(name)], as_json=as_json)


def _look(diagnosis: Callable[[], list[list[Finding]]], *, as_json: bool) -> int:
    console = Terminal()
    with nullcontext() if as_json else console.status("Checking …"):
        groups = diagnosis()
    if as_json:
        for finding in (finding for group in groups for finding in group):
            print_json(asdict(finding))
    else:
        show(groups, console)
    return int(has_failed(groups))

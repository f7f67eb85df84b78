"""Why a model is not loaded, as the end of a sentence."""

from __future__ import annotations

from workers.loading.files import Fault


class NotLoaded(Exception):
    """Why a model is not loaded, and what to do: the end of a sentence."""


def refuse(fault: Fault | None) -> None:
    """Raise `NotLoaded` where something is wrong with a model's files."""
    if fault is not None:
        raise NotLoaded(f"{fault.found}; {fault.advice}")

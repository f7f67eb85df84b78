"""Why a model is not loaded, as the end of a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a model's files, and what to do about it: two parts of a sentence, without a full stop."""

    found: str
    advice: str


class NotLoaded(Exception):
    """Why a model is not loaded, and what to do: the end of a sentence."""


def refuse(fault: Fault | None) -> None:
    """Raise `NotLoaded` where something is wrong with a model's files."""
    if fault is not None:
        raise NotLoaded(f"{fault.found}; {fault.advice}")

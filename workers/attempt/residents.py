"""Which models lie on the device, and whether anybody uses them: one that is used is not taken away."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from workers.attempt.errors import ModelGone


class Residents:
    """
    Safe to use from many threads.

    Args:
        models: That lie there; None where all do that the worker serves, for good.
        on_use: Called with the name of a model that a job begins to use; must be quick.
    """

    def __init__(
        self, models: Iterable[str] | None = None, on_use: Callable[[str], None] = lambda _model: None
    ) -> None:
        self._on_use = on_use
        self._changed = threading.Condition()  # guards what follows
        self._used_at = None if models is None else dict.fromkeys(models, time.monotonic())
        self._users: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()

    @contextmanager
    def coming(self, model: str | None) -> Iterator[None]:
        """A job is on its way to a model, until the end of the block: it waits for its inputs, or for a slot."""
        with self._changed:
            self._coming[model or ""] += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming[model or ""] -= 1

    @contextmanager
    def use(self, model: str | None) -> Iterator[None]:
        """
        Have a model where it is, until the end of the block; None for a job that needs none.

        Raises:
            ModelGone: It does not lie there, or is about to go.
        """
        if model is None or self._used_at is None:
            yield
            return
        with self._changed:
            if (why := self.why_gone(model)) is not None:
                raise why
            self._users[model] += 1
        self._on_use(model)
        try:
            yield
        finally:
            with self._changed:
                self._users[model] -= 1
                if model in self._used_at:
                    self._used_at[model] = time.monotonic()
                self._changed.notify_all()

    def why_gone(self, model: str | None) -> ModelGone | None:
        """Why a job is not to wait for a model here; None where it lies there."""
        if model is None or self._used_at is None or model in self._used_at:
            return None
        return ModelGone(f"{model} makes room for another model")

    def used_at(self) -> dict[str, float]:
        """When each that lies there was last used: now, where it is; seconds of the monotonic clock."""
        with self._changed:
            now = time.monotonic()
            return {model: now if self._users[model] else at for model, at in (self._used_at or {}).items()}

    def in_use(self) -> set[str]:
        """Those that jobs use at the moment."""
        with self._changed:
            return {model for model, count in self._users.items() if count}

    def awaited(self) -> dict[str, int]:
        """How many jobs are on their way to each."""
        with self._changed:
            return {model: count for model, count in self._coming.items() if model and count}

    def add(self, model: str) -> None:
        """It lies there now."""
        with self._changed:
            if self._used_at is not None:
                self._used_at[model] = time.monotonic()

    def retire(self, model: str) -> None:
        """Nobody begins to use it from now on."""
        with self._changed:
            if self._used_at is not None:
                self._used_at.pop(model, None)

    def wait_unused(self, models: Iterable[str], timeout_s: float) -> bool:
        """Wait until nobody uses any of them any more. Returns whether that is so."""
        wanted = tuple(models)
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._users[each] for each in wanted), timeout_s)

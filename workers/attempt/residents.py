"""Which models lie on the device, and whether anybody uses them: one that is used is not taken away."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from workers.attempt.errors import Draining


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

    @contextmanager
    def use(self, model: str | None) -> Iterator[None]:
        """
        Have a model where it is, until the end of the block; None for a job that needs none.

        Raises:
            Draining: It does not lie there, or is about to go.
        """
        if model is None or self._used_at is None:
            yield
            return
        with self._changed:
            if model not in self._used_at:
                raise Draining(f"{model} makes room for another model")
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

    def used_at(self) -> dict[str, float]:
        """When each that lies there was last used: now, where it is; seconds of the monotonic clock."""
        with self._changed:
            now = time.monotonic()
            return {model: now if self._users[model] else at for model, at in (self._used_at or {}).items()}

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

    def wait_unused(self, model: str, timeout_s: float) -> bool:
        """Wait until nobody uses it any more. Returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._users[model], timeout_s)

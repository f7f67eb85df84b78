"""Which jobs may be in the engine: a number at a time, a suspect one alone, and none once the worker drains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.attempt.errors import Draining


class EngineSlot:
    """One job's; handed out by `EngineSlots.acquire`."""

    def __init__(self, engine_slots: EngineSlots, *, alone: bool) -> None:
        self._engine_slots = engine_slots
        self._alone = alone
        self._has_left = self._is_free = False

    def leave_engine(self) -> None:
        """The engine is done with the job, its files are not: the next may enter, unless this one is a suspect."""
        if not self._alone:
            self._engine_slots._move(taken=-1, finishing=1)
            self._has_left = True

    def release(self) -> None:
        """The job's files are made. Storing them does no harm to others, however long it takes."""
        if self._is_free:
            return
        self._is_free = True
        if self._has_left:
            self._engine_slots._move(finishing=-1)
        else:
            self._engine_slots._move(taken=-1, alone=-self._alone)


class EngineSlots:
    """
    A bounded number of slots. A job without one has not started, so it is not blamed for what others do.

    Args:
        count: Jobs at a time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.Condition()  # guards what follows
        self._taken = 0
        self._finishing = 0  # whose pictures become files
        self._alone = 0  # suspects that wait for an empty worker, or have it
        self.is_closed = False

    @contextmanager
    def acquire(
        self, *, alone: bool = False, reason: Callable[[], Exception | None] = lambda: None
    ) -> Iterator[EngineSlot]:
        """
        Enter the engine. A job that may have killed its last worker enters alone, until its files are made, so that
        it can harm no other job.

        Args:
            reason: Why the job is not to enter any more; checked again at each `look_again`.

        Raises:
            Draining: The worker takes up no more jobs.
            Exception: What `reason` returned.
        """
        with self._free:
            self._alone += alone
            try:
                self._free.wait_for(lambda: self.is_closed or reason() is not None or self._may_enter(alone))
                if (why := reason()) is not None:
                    raise why
                if self.is_closed:
                    raise Draining("the worker stops")
            except BaseException:
                self._alone -= alone
                self._free.notify_all()
                raise
            self._taken += 1
        engine_slot = EngineSlot(self, alone=alone)
        try:
            yield engine_slot
        finally:
            engine_slot.release()

    def look_again(self) -> None:
        """A waiting job may now have a reason to stop."""
        with self._free:
            self._free.notify_all()

    def close(self) -> None:
        """Admit no more jobs; waiting ones get `Draining`."""
        with self._free:
            self.is_closed = True
            self._free.notify_all()

    def _may_enter(self, alone: bool) -> bool:
        if alone:
            return self._taken == 0 and self._finishing == 0
        return self._taken < self.count and self._alone == 0

    def _move(self, *, taken: int = 0, finishing: int = 0, alone: int = 0) -> None:
        with self._free:
            self._taken += taken
            self._finishing += finishing
            self._alone += alone
            self._free.notify_all()

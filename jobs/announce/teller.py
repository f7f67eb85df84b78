"""
Tells ends: takes them out of a protocol's outbox, and tries each again, ever more seldom, until it is told or given up.

Runs in every worker and API process. A receiver that is slow, or away, holds up its own ends alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from jobs.errors import RedisUnavailable
from jobs.table.outbox import LEASE_S, Outbox, Untold
from jobs.table.record import JobRecord

log = structlog.get_logger()

_LOOK_EVERY_S = 0.5
_MOST_AT_A_TIME = 32
_FIRST_AGAIN_S, _LAST_AGAIN_S = 1.0, 600.0
_MOST_TRIES = 60  # about eight hours

Tell = Callable[[JobRecord, Mapping[str, Any]], None]  # raises where it could not be told


class Teller:
    """
    One protocol's loop in one process.

    Args:
        tell: Tells one end; any exception means that it could not.

    Attributes:
        protocol: Its name.
    """

    def __init__(self, outbox: Outbox, protocol: str, tell: Tell) -> None:
        self._outbox = outbox
        self.protocol = protocol
        self._tell = tell
        self._in_hand: list[Untold] = []
        self._in_hand_until = 0.0
        self._news = threading.Event()
        self._handed: deque[Untold] = deque()
        self._is_woken = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"teller {protocol}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """A job has just ended here: look at once."""
        self._is_woken = True
        self._news.set()

    @property
    def has_room(self) -> bool:
        """Whether ends that are handed over are told at once."""
        is_running = self._thread.is_alive() and not self._stopping.is_set()
        return is_running and len(self._handed) < _MOST_AT_A_TIME

    def hand(self, end: Untold) -> None:
        """Have an end told that this process has in hand already."""
        self._handed.append(end)
        self._news.set()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the thread when all that is due is told, waiting so long at most."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        next_look, is_last = 0.0, False
        while not is_last:
            self._news.wait(max(0.0, next_look - time.monotonic()))
            self._news.clear()
            is_last = self._stopping.is_set()  # What ended before may have nobody else to tell it.
            try:
                while self._handed:
                    self._tell_one(self._handed.popleft())
                if is_last or self._is_woken or time.monotonic() >= next_look:
                    self._is_woken, next_look = False, time.monotonic() + _LOOK_EVERY_S
                    while self.run_once() and (is_last or not self._stopping.is_set()):
                        pass
            except RedisUnavailable as exc:
                log.warning("ends are not told: Redis is away", protocol=self.protocol, reason=str(exc))
                self._stopping.wait(_FIRST_AGAIN_S)
            except Exception:
                log.exception("bug while ends are told", protocol=self.protocol)
                self._in_hand = []
                self._stopping.wait(_FIRST_AGAIN_S)

    def run_once(self) -> int:
        """
        Tell what is due now, a bunch at most. Returns how many were tried.

        Raises:
            RedisUnavailable: What it holds is told next time, or by another when its lease is over.
        """
        if time.monotonic() >= self._in_hand_until:
            self._in_hand = []  # Others may tell them by now.
        if not self._in_hand:
            self._in_hand_until = time.monotonic() + LEASE_S
            self._in_hand = self._outbox.take(_MOST_AT_A_TIME)
        count = len(self._in_hand)
        while self._in_hand:  # What Redis goes away from stays in hand, and is told when it is back.
            self._tell_one(self._in_hand[0])
            del self._in_hand[0]
        return count

    def _tell_one(self, end: Untold) -> None:
        try:
            self._tell(end.record, end.wants)
        except Exception as exc:  # noqa: BLE001 - receivers of all kinds fail in ways of their own
            self._try_again(end, exc)
        else:
            self._outbox.told(end)

    def _try_again(self, end: Untold, exc: Exception) -> None:
        facts = {"protocol": self.protocol, "job_id": end.record.id, "tries": end.tries + 1}
        if end.tries + 1 >= _MOST_TRIES:
            log.error("an end is given up: it cannot be told", **facts, error=type(exc).__name__)
            self._outbox.give_up(end)
            return
        after_s = min(_FIRST_AGAIN_S * 2.0**end.tries, _LAST_AGAIN_S)
        log.warning("an end is not told yet", **facts, again_in_s=after_s, error=type(exc).__name__)
        self._outbox.later(end, after_s)

"""
Sends the notifications in a protocol's outbox; retries each at growing intervals until it is sent or given up.

Runs in every worker and API process. A receiver that is slow or away delays only its own notifications, and no job:
notifications wait here, and nothing waits for them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from jobs.errors import RedisUnavailable
from jobs.table.outbox import LEASE_S, Outbox, PendingNotice
from jobs.table.record import JobRecord

log = structlog.get_logger()

_LOOK_EVERY_S = 0.5
_MOST_AT_A_TIME = 32
_FIRST_AGAIN_S, _LAST_AGAIN_S = 1.0, 600.0
_MOST_TRIES = 60  # about eight hours
_QUIET_S = 10.0  # without start notifications after one failed: each may take as long as its time-out

Notice = Callable[[], None]  # raises if it fails
Notify = Callable[[JobRecord, Mapping[str, Any]], None]  # raises if it fails


class Notifier:
    """
    One protocol's loop in one process.

    Args:
        notify: Notifies of one end; any exception means that it failed.

    Attributes:
        protocol: Its name.
    """

    def __init__(self, outbox: Outbox, protocol: str, notify: Notify) -> None:
        self._outbox = outbox
        self.protocol = protocol
        self._notify = notify
        self._in_hand: list[PendingNotice] = []
        self._in_hand_until = 0.0
        self._news = threading.Event()
        self._handed: deque[Callable[[], None]] = deque()
        self._quiet_until = 0.0
        self._has_failed = False  # since the last bunch was taken
        self._is_woken = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notifier {protocol}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """A job has just ended here: check the outbox at once."""
        self._is_woken = True
        self._news.set()

    @property
    def has_room(self) -> bool:
        """Whether notifications that are handed over are sent at once."""
        is_running = self._thread.is_alive() and not self._stopping.is_set()
        return is_running and len(self._handed) < _MOST_AT_A_TIME

    def hand(self, end: PendingNotice) -> None:
        """Send a notification that this process already holds."""
        self._handed.append(partial(self._notify_one, end))
        self._news.set()

    def note(self, notice: Notice) -> None:
        """Send a notification that is only useful now: tried once, and dropped if there is no room."""
        if len(self._handed) < _MOST_AT_A_TIME:
            self._handed.append(partial(self._send, notice))
            self._news.set()

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop the thread when everything due is sent, waiting at most this long."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        next_look, is_last = 0.0, False
        while not is_last:
            self._news.wait(max(0.0, next_look - time.monotonic()))
            self._news.clear()
            is_last = self._stopping.is_set()  # No other process may be there to notify of earlier ends.
            try:
                while self._handed:
                    self._handed.popleft()()
                if is_last or self._is_woken or time.monotonic() >= next_look:
                    self._is_woken, next_look = False, time.monotonic() + _LOOK_EVERY_S
                    while self.run_once() and self._goes_on(is_last):
                        pass
            except RedisUnavailable as exc:
                log.warning(
                    "notifications are not sent: Redis cannot be reached", protocol=self.protocol, reason=str(exc)
                )
                self._stopping.wait(_FIRST_AGAIN_S)
            except Exception:
                log.exception("bug while notifications are sent", protocol=self.protocol)
                self._in_hand = []
                self._stopping.wait(_FIRST_AGAIN_S)

    def _goes_on(self, is_last: bool) -> bool:
        """A stopping notifier sends all that it can, and leaves failed ones to others: they may be due at once."""
        return not self._has_failed if is_last else not self._stopping.is_set()

    def run_once(self) -> int:
        """
        Send what is due now, at most one batch. Returns how many were tried.

        Raises:
            RedisUnavailable: What it holds is sent next time, or by another when its lease is over.
        """
        if time.monotonic() >= self._in_hand_until:
            self._in_hand = []  # Others may send them by now.
        if not self._in_hand:
            self._in_hand_until = time.monotonic() + LEASE_S
            self._in_hand, self._has_failed = self._outbox.take(_MOST_AT_A_TIME), False
        count = len(self._in_hand)
        # If Redis goes away, the rest stays in hand and is sent when it is back.
        while self._in_hand and time.monotonic() < self._in_hand_until:
            self._notify_one(self._in_hand[0])
            del self._in_hand[0]
        return count

    def _send(self, notice: Notice) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            notice()
        except Exception as exc:  # noqa: BLE001 - receivers of all kinds fail in ways of their own
            self._quiet_until = time.monotonic() + _QUIET_S
            log.warning("a start notification failed", protocol=self.protocol, error=type(exc).__name__)

    def _notify_one(self, end: PendingNotice) -> None:
        try:
            self._notify(end.record, end.wants)
        except Exception as exc:  # noqa: BLE001 - receivers of all kinds fail in ways of their own
            self._try_again(end, exc)
        else:
            self._outbox.notified(end)

    def _try_again(self, end: PendingNotice, exc: Exception) -> None:
        self._has_failed = True
        facts = {"protocol": self.protocol, "job_id": end.record.id, "tries": end.tries + 1}
        if end.tries + 1 >= _MOST_TRIES:
            log.error("a notification is given up", **facts, error=type(exc).__name__)
            self._outbox.give_up(end)
            return
        after_s = min(_FIRST_AGAIN_S * 2.0**end.tries, _LAST_AGAIN_S)
        log.warning("a notification failed and will be retried", **facts, again_in_s=after_s, error=type(exc).__name__)
        self._outbox.later(end, after_s)

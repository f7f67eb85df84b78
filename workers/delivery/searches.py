"""
Messages whose pictures lie on other hosts, while these are asked: aside, for a silent one is to hold up no others.

They stay in hand, so that nobody else gets them, and are handed out again where this worker dies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from jobs.broker.messages import TaskCall
from jobs.table.inbox import Held

_THREADS = 8  # Each may hold a whole picture.
_MOST = 500  # Messages that wait for a thread, too.

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """
    One message.

    Attributes:
        found: Its request, with all that it names; or why not.
    """

    held: Held
    call: TaskCall
    found: Future[Fields]


class Searches:
    """Of one adoption, which alone calls this."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "searches")
        self._open: list[Search] = []

    @property
    def held(self) -> list[Held]:
        """The messages."""
        return [each.held for each in self._open]

    def begin(self, held: Held, call: TaskCall, find: Callable[[], Fields]) -> bool:
        """Find, in a thread of its own. Returns whether there is room for it."""
        if len(self._open) == _MOST:
            return False
        self._open.append(Search(held=held, call=call, found=self._threads.submit(find)))
        return True

    def ended(self) -> list[Search]:
        """Those that have found, or failed, since the last time."""
        ended = [each for each in self._open if each.found.done()]
        self._open = [each for each in self._open if each not in ended]
        return ended

    def close(self) -> None:
        """Begin no more of them, and wait for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)

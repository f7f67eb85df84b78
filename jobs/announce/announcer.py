"""What a process does about ends: a teller for each protocol. A further one is a file beside this one, a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import redis

from jobs.announce import celery
from jobs.announce.teller import Tell, Teller
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.outbox import Outbox, Untold

PROTOCOLS: Final = (celery.PROTOCOL,)


class Announcer:
    """Of a worker or an API process."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._results = celery.CeleryResults(settings)
        protocols: dict[str, Tell] = {
            celery.PROTOCOL: self._results.tell,
        }
        self._tellers = [Teller(Outbox(client, settings, name), name, tell) for name, tell in protocols.items()]

    def start(self) -> None:
        """Start telling."""
        for teller in self._tellers:
            teller.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """End it, waiting so long at most for what is being told; what is not told yet is told by others."""
        for teller in self._tellers:
            teller.stop(timeout_s)

    def takes(self, tells: Mapping[str, Any]) -> bool:
        """Whether this process tells the end of such a job at once; `tells` as of its claim."""
        found = [each for each in self._tellers if each.protocol in tells]
        return len(found) == len(tells) > 0 and all(each.has_room for each in found)

    def hand(self, ends: Sequence[Untold]) -> None:
        """Tell what `JobTable.end` says is to be told."""
        for end in ends:
            for teller in self._tellers:
                if teller.protocol == end.protocol:
                    teller.hand(end)

    def note_end(self, tells: Mapping[str, Any]) -> None:
        """
        A job has just ended in this process: whoever is to be told is told now.

        Args:
            tells: By protocol, as of a claim. Of the many that tell nobody there is nothing to look for.
        """
        for teller in self._tellers:
            if teller.protocol in tells:
                teller.wake()

    def note_start(self, claim: Claim, worker: str) -> None:
        """A job begins in this process. That it began is worth less than that it runs: it waits for nobody to hear."""
        wants = claim.tells.get(celery.PROTOCOL)
        if wants is None or not celery.hears_start(wants):
            return
        for teller in self._tellers:
            if teller.protocol == celery.PROTOCOL:
                teller.note(partial(self._results.tell_start, claim.record, wants, worker))

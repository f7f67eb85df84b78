"""
Looks for what deleted jobs have left, until nothing comes any more. Runs in every worker and API process.

A look deletes a job's objects and forgets its messages. It is repeated a lease later, and then ever more seldom for a
day, for an attempt that has lost its job may have been cut off, and upload when it is back; one that learns that it has
lost its job asks for a look itself. Whatever stops in between, another process goes on: what is done is not noted
before it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from jobs.deletions.deletions import Deletions, Leftover
from jobs.deletions.messages import Messages
from jobs.errors import ImagemillError
from jobs.process.settings import Settings

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
_AGAIN_AFTER_S = 5.0  # a store that is away, or a Redis
_HOLD_S = 60.0  # Longer than a bunch takes; who dies with one leaves it for as long.
_MOST_AT_A_TIME = 20

DeleteObjects = Callable[[str, float, Sequence[str]], int]
ForgetInputs = Callable[[str, Sequence[str]], None]


class Deleter:
    """
    One process' part in it.

    Args:
        delete_objects: Deletes all objects of a job, by its id, when it was submitted (Unix time, seconds), and the
            keys that were published of it; returns how many there were. After any exception it is tried again.
        forget_inputs: Inputs no job needs any more: deletes those of a job's (ids of files) that nothing else needs.
            Likewise.
        each_pass: What else is to be done as often.
    """

    def __init__(
        self,
        deletions: Deletions,
        settings: Settings,
        delete_objects: DeleteObjects,
        forget_inputs: ForgetInputs = lambda _job_id, _inputs: None,
        each_pass: Callable[[], None] = lambda: None,
    ) -> None:
        self._deletions = deletions
        self._messages = Messages(settings)
        self._delete_objects = delete_objects
        self._forget_inputs = forget_inputs
        self._each_pass = each_pass
        self._woken = threading.Event()

    def wake(self) -> None:
        """Something was deleted here: look at once."""
        self._woken.set()

    def run(self, stopping: threading.Event) -> None:
        """Pass after pass until `stopping`, which is seen at the next; `wake` then, to be waited for no longer."""
        pause_s = _LOOK_EVERY_S
        while not stopping.is_set():
            self._woken.wait(pause_s)
            self._woken.clear()
            try:
                self._each_pass()
                pause_s = 0.0 if self.run_once() else _LOOK_EVERY_S
            except ImagemillError as exc:
                log.warning("deletions wait", reason=str(exc))
                stopping.wait(_AGAIN_AFTER_S)
            except Exception:  # One job must not end the care for all others.
                log.exception("bug in the deleter")
                stopping.wait(_AGAIN_AFTER_S)

    def run_once(self) -> bool:
        """
        One bunch. Returns whether there may be more that is due now.

        Raises:
            RedisUnavailable
        """
        taken = self._deletions.take(_MOST_AT_A_TIME, _HOLD_S)
        if not taken:
            return False
        self._messages.forget(taken)
        for at, each in enumerate(taken):
            if not self._look(each):
                for other in taken[at + 1 :]:  # They come first next time, for it may be this one alone that fails.
                    self._deletions.put_off(other, _AGAIN_AFTER_S)
                return False
        return len(taken) == _MOST_AT_A_TIME

    def _look(self, leftover: Leftover) -> bool:
        """Whether it could be looked for; else it is due again in a while."""
        try:
            found = self._delete_objects(leftover.job_id, leftover.created_at, leftover.keys)
            self._forget_inputs(leftover.job_id, leftover.inputs)
        except ImagemillError:
            raise
        except Exception as exc:  # noqa: BLE001 - stores of all kinds fail in ways of their own
            log.warning("a deletion waits for the store", job_id=leftover.job_id, reason=str(exc))
            self._deletions.put_off(leftover, 2 * _AGAIN_AFTER_S)
            return False
        is_gone = self._deletions.settle(leftover, found)
        log.info("deleted job looked for", job_id=leftover.job_id, objects=found, is_gone=is_gone)
        return True

"""
Deletes what has expired of uploaded files, and what is left of uploads whose processes have died.

Runs in every API process, in one at a time. Objects go first, then their records: a process that dies in between leaves
both to the next pass.
"""

from __future__ import annotations

import threading

import redis
import structlog

from jobs import names
from jobs.errors import ImagemillError
from jobs.inputs.files import Files
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from storage.errors import StorageError
from storage.inputs import Inputs
from storage.store import Store

log = structlog.get_logger()

PASS_S = 60.0  # Between two passes, of all processes together.
_AT_ONCE = 200


class FileSweep:
    """One process' part in it."""

    def __init__(self, client: redis.Redis, store: Store, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._files = Files(client, settings)
        self._inputs = Inputs(store)

    def run(self, stopping: threading.Event) -> None:
        """Pass after pass, until `stopping`. Redis or the store being away is nobody's fault here."""
        while not stopping.wait(PASS_S / 2):
            try:
                if self._is_its_turn():
                    self.run_once()
            except (ImagemillError, StorageError) as exc:
                log.warning("sweeping files failed", reason=str(exc))
            except Exception:  # One file's record must not end the care for all others.
                log.exception("bug in the sweep of files")

    def run_once(self) -> int:
        """
        One pass. Returns how many files and uploads it deleted.

        Raises:
            RedisUnavailable, StorageUnavailable, StorageMisconfigured
        """
        count = 0
        while due := self._files.due(_AT_ONCE):
            self._inputs.delete([each.id for each in due])
            for each in due:
                self._files.forget(each.id)
            count += len(due)
        for file_id in self._files.lost(_AT_ONCE):
            self._inputs.clear(file_id)
            self._files.forget(file_id)
            count += 1
        if count:
            log.info("files deleted", count=count)
        return count

    def _is_its_turn(self) -> bool:
        with map_errors(self._settings):
            return bool(self._redis.set(names.FILE_SWEEP, "1", nx=True, px=int(PASS_S * 1000)))

"""Who loads which model, for no two workers are to load one for the same jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import redis

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts

EXPIRY_S = 10  # A worker that loads says so more often; one that was killed holds nobody up for longer.


class Loads:
    """
    Of one worker.

    Every method raises `RedisUnavailable` where Redis does not answer.

    Args:
        owner: Its name.
    """

    def __init__(self, client: redis.Redis, settings: Settings, owner: str) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._owner = owner

    def take(self, model: str) -> bool:
        """Begin to load a model, or say that it is being loaded still. Returns False where another worker does."""
        return bool(self._scripts.run("load", model=model, owner=self._owner, expiry_s=EXPIRY_S) == "taken")

    def end(self, model: str) -> None:
        """It is loaded, or cannot be."""
        key = names.loading_key(model)
        with map_errors(self._settings):
            if self._redis.get(key) == self._owner:
                self._redis.delete(key)

    def of_others(self, models: Sequence[str]) -> set[str]:
        """Those of some models that other workers load now."""
        if not models:
            return set()
        with map_errors(self._settings):
            owners = cast("list[str | None]", self._redis.mget([names.loading_key(each) for each in models]))
        return {model for model, owner in zip(models, owners, strict=True) if owner not in (None, self._owner)}

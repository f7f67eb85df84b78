"""From a token to its key, for every request: looked up by its hash, and remembered for a moment."""

from __future__ import annotations

import time

import redis.asyncio
import structlog
from cachetools import TLRUCache

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from producer.keys.errors import KeyRefused
from producer.keys.key import ApiKey, hash_token, looks_like_token, read_key

log = structlog.get_logger()

REMEMBER_S = 2.0  # A revoked key opens an API process at most for so long.
_MOST = 10_000  # Keys that one process remembers, of about 1 KB each.

_Found = tuple[float, ApiKey]  # when Redis was asked for it, and not when it had answered


class KeyLookup:
    """
    Finds keys. One serves a whole process.

    What is compared is the hash of what came, by Redis: a client that tries tokens learns nothing from the time
    that it takes, for nobody can choose how a hash begins. Only valid keys are remembered, so tokens that are none
    take no memory; and Redis is asked for none that cannot be one.
    """

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._known: TLRUCache[str, _Found] = TLRUCache(_MOST, ttu=lambda _digest, found, _now: found[0] + REMEMBER_S)
        self._is_closed = False
        self._looked_at = float("-inf")

    def presumed(self, token: str) -> str:
        """The name of a token's key as it was last found, however long ago that was; "" if it never was."""
        _, key = self._known.get(hash_token(token), (0.0, None))
        return key.name if key else ""

    async def find(self, token: str) -> ApiKey | None:
        """
        The valid key of a token, if there is one.

        Raises:
            KeyRefused: Its record is none that this version can read.
            RedisUnavailable
        """
        return await self.find_by_hash(hash_token(token)) if looks_like_token(token) else None

    async def find_by_hash(self, digest: str) -> ApiKey | None:
        """The same of a token's hash, as a key's record has it."""
        if (known := self._known.get(digest)) is not None:
            return known[1]
        asked_at = time.monotonic()
        key = await self._read(digest)
        if key is None:
            self._known.pop(digest, None)
        else:
            self._known[digest] = (asked_at, key)
        return key

    async def named(self, name: str) -> ApiKey | None:
        """
        The valid key of that name, if there is one, as it is now.

        Raises:
            RedisUnavailable
        """
        with map_errors(self._settings):
            record = await self._redis.hget(names.API_KEYS, name)
        key = read_key(str(record)) if record else None
        return key if key is not None and key.is_valid else None

    async def is_open(self) -> bool:
        """
        Whether there never was a key. Once there was one, this process stays closed, even if Redis forgets it.

        Raises:
            RedisUnavailable
        """
        now = time.monotonic()
        if not self._is_closed and now >= self._looked_at + REMEMBER_S:
            with map_errors(self._settings):
                self._is_closed = bool(await self._redis.exists(names.API_KEYS))
            self._looked_at = now
        return not self._is_closed

    async def _read(self, digest: str) -> ApiKey | None:
        with map_errors(self._settings):
            name = await self._redis.hget(names.API_KEY_NAMES, digest)
            record = await self._redis.hget(names.API_KEYS, name) if name else None
        if record is None:
            return None
        self._is_closed = True
        key = read_key(str(record))
        if key is None:
            log.warning("the record of an API key cannot be read", key=name)
            raise KeyRefused("this version of the API cannot read the record of this key, so the key is refused")
        return key if key.is_valid and key.token_hash == digest else None

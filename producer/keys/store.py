"""
The API keys in Redis.

Each has a record under its name, and while it is valid its hash leads to the name. Records stay when keys are revoked:
an API that ever had a key requires one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, cast

import redis
import structlog

from jobs import names
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.table.callers import RESERVED_NAMES
from producer.keys.key import LIMITS, ApiKey, KeyLimits, changed_key, make_key, new_token, read_key
from producer.keys.rates import parse_rate

log = structlog.get_logger()

# Redis may be full of the jobs of the very key that is to be revoked.
_WRITE = """#!lua flags=allow-oom
-- Write a key's record, if the one before it is still what the caller read ('' for none), and which hash leads to it.
-- Repeating it gives the same answer.
local name, before, record, old_hash, new_hash = unpack(ARGV)
local current = redis.call('HGET', KEYS[1], name) or ''
if current == record then return 1 end
if current ~= before then return 0 end
redis.call('HSET', KEYS[1], name, record)
if old_hash ~= '' then redis.call('HDEL', KEYS[2], old_hash) end
if new_hash ~= '' then redis.call('HSET', KEYS[2], new_hash, name) end
return 1
"""


class KeyStore:
    """Makes, lists and revokes keys."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._script = client.register_script(_WRITE)

    def create(
        self,
        name: str,
        **limits: Any,
    ) -> tuple[str, ApiKey]:
        """
        Make a key.

        Args:
            limits: Those of `KeyLimits`; what is not named, or None, is at its default.

        Returns:
            The token, which is stored nowhere, and its record.

        Raises:
            InvalidRequest: A field is wrong, or there was a key of that name before: it would see that one's jobs.
            RedisUnavailable
        """
        if name in RESERVED_NAMES:
            raise InvalidRequest("name", f"{name!r} is reserved: it is the caller of jobs without a key")
        token = new_token()
        key = make_key(token, name=name, created_at=time.time(), **_checked(limits))
        if not self._write(name, "", key.model_dump_json(), new_hash=key.token_hash):
            raise InvalidRequest(
                "name", f"a key {name!r} exists or existed, and the new key would own its jobs; rotate it instead"
            )
        return token, key

    def rotate(self, name: str) -> tuple[str, ApiKey]:
        """
        Give a key a new token; the old one opens nothing from now on, and a revoked key is valid again.

        Raises:
            InvalidRequest: There is no such key.
            RedisUnavailable
        """
        token = new_token()
        while True:
            before, key, written = self._read(name)
            rotated = make_key(token, name=name, created_at=time.time(), **key.model_dump(include=LIMITS))
            record = json.dumps(written | rotated.model_dump(mode="json"))
            if self._write(name, before, record, old_hash=key.token_hash, new_hash=rotated.token_hash):
                return token, rotated

    def update(self, name: str, /, **limits: Any) -> ApiKey:
        """
        Change what a key allows; it holds within seconds, for what is open, too.

        Args:
            limits: Those of `KeyLimits` that are to change; None is the default.

        Raises:
            InvalidRequest: There is no such key, or a field is wrong.
            RedisUnavailable
        """
        given = _checked(limits)
        while True:
            before, key, written = self._read(name)
            changed = changed_key(key, _defaults(limits) | given)
            record = json.dumps(written | changed.model_dump(mode="json"))
            if self._write(name, before, record):
                return changed

    def revoke(self, name: str) -> ApiKey:
        """
        Make a key invalid; one that is so already stays as it is. This ends no job; but what is open of the key ends,
        and an OpenAI request without an idempotency key takes its job with it.

        Raises:
            InvalidRequest: There is no such key.
            RedisUnavailable
        """
        while True:
            before, key, written = self._read(name)
            if not key.is_valid:
                return key
            revoked = key.model_copy(update={"revoked_at": time.time()})
            record = json.dumps(written | revoked.model_dump(mode="json"))
            if self._write(name, before, record, old_hash=key.token_hash):
                return revoked

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, the oldest first; not those whose records cannot be read, which open nothing."""
        with map_errors(self._settings):
            records = cast("dict[str, str]", self._redis.hgetall(names.API_KEYS))
        found = {name: read_key(record) for name, record in records.items()}
        for name in (name for name, key in found.items() if key is None):
            log.warning("the record of an API key cannot be read", key=name)
        return sorted((key for key in found.values() if key is not None), key=lambda key: key.created_at)

    def has_any(self) -> bool:
        """Whether there ever was a key."""
        with map_errors(self._settings):
            return bool(self._redis.exists(names.API_KEYS))

    def _read(self, name: str) -> tuple[str, ApiKey, dict[str, Any]]:
        """A key's record as it stands, what is understood of it, and all of it: what is newer goes back with it."""
        with map_errors(self._settings):
            record = cast("str | None", self._redis.hget(names.API_KEYS, name))
        if record is None:
            raise InvalidRequest("name", f"there is no key {name!r}; `./imagemill keys list` shows them")
        key = read_key(record)
        if key is None:
            raise InvalidRequest("name", f"this version cannot read the record of key {name!r}; a newer one may")
        return record, key, json.loads(record)

    def _write(self, name: str, before: str, record: str, *, old_hash: str = "", new_hash: str = "") -> bool:
        with map_errors(self._settings):
            args = [name, before, record, old_hash, new_hash]
            return bool(self._script(keys=[names.API_KEYS, names.API_KEY_NAMES], args=args))


def _checked(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are given, in the form in which they are stored."""
    if unknown := limits.keys() - LIMITS:
        raise InvalidRequest(min(unknown), "is not a limit of a key")
    given = {name: value for name, value in limits.items() if value is not None and value != []}
    return given | ({"rate": parse_rate(given["rate"])} if "rate" in given else {})


def _defaults(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {name: KeyLimits.model_fields[name].default for name in limits}

"""How often a key may be used: counted in Redis, so that all replicas of the API count together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import redis.asyncio

from jobs import names
from jobs.errors import InvalidRequest, RedisFull
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from producer.keys.errors import KeyRefused, RateExceeded
from producer.keys.key import ApiKey

if TYPE_CHECKING:
    from limits import RateLimitItem

MOST_USES = 10_000  # Each use in the window is an entry of a list in Redis.
_SOON_S = 0.1


def parse_rate(text: str) -> str:
    """
    A rate in its usual form, e.g. "10/second" or "100 per 15 minutes".

    Raises:
        InvalidRequest: It is none, or beyond `MOST_USES`.
    """
    rate = _item(text)
    multiples = f"{rate.multiples} " if rate.multiples > 1 else ""
    return f"{rate.amount}/{multiples}{rate.GRANULARITY.name}"


def _item(text: str) -> RateLimitItem:
    from limits import parse_many

    try:
        rate, *more = parse_many(text)
    except ValueError as exc:
        raise InvalidRequest("rate", f"{text!r} is not a rate, such as 10/second, 600/minute or 1000/2 hours") from exc
    if more:
        raise InvalidRequest("rate", f"{text!r} is more than one rate")
    if not 1 <= rate.amount <= MOST_USES:
        raise InvalidRequest("rate", f"{text!r} must allow 1 to {MOST_USES} requests per period")
    return rate


class RateLimits:
    """
    Counts the uses of keys in moving windows: within any second, minute or hour no more than the rate.

    The clocks of the replicas decide, so a rate is as exact as they agree.
    """

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import MovingWindowRateLimiter

        self._settings = settings
        self._items: dict[str, RateLimitItem] = {}
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=names.API_RATES,
            connection_pool=client.connection_pool,  # type: ignore[arg-type]  # as its docstring says
        )
        self._limiter = MovingWindowRateLimiter(storage)

    async def use(self, key: ApiKey) -> None:
        """
        Count one use of a key.

        A full Redis counts nothing, and refuses submissions by itself: asking and canceling must go on.

        Raises:
            KeyRefused: Its rate is in a form that only a newer version knows.
            RateExceeded: It was used as often as it may be; this one is not counted.
            RedisUnavailable
        """
        if key.rate is None:
            return
        rate = self._item_of(key.rate)
        try:
            with map_errors(self._settings):
                if await self._limiter.hit(rate, key.name):
                    return
                window = await self._limiter.get_window_stats(rate, key.name)
        except RedisFull:
            return
        raise RateExceeded(key.rate, max(_SOON_S, window.reset_time - time.time()))

    def _item_of(self, rate: str) -> RateLimitItem:
        try:
            return self._items.setdefault(rate, _item(rate))
        except InvalidRequest as exc:  # It was checked when it was stored.
            raise KeyRefused(
                "this version of the API cannot read the rate limit of this key, so the key is refused"
            ) from exc

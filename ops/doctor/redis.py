"""Redis: whether it is there, and whether it keeps what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import RedisUnavailable
from jobs.process.address import address_of
from jobs.process.settings import Settings, load_settings
from jobs.redis.advice import advise
from jobs.redis.connection import connect, map_errors
from ops.doctor import redis_rules as rules
from ops.doctor.finding import Finding, State, attempt, attempt_all, unchecked
from ops.doctor.redis_rights import RIGHTS, check_rights

REACHABLE = "Redis"

# What each check reads of Redis' INFO, and who judges it.
_JUDGES: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], Finding]]] = {
    rules.VERSION: (("server",), rules.judge_version),
    rules.ROLE: (("server", "replication"), rules.judge_role),
    rules.PERSISTENCE: (("persistence",), rules.judge_persistence),
    rules.EVICTION: (("memory",), rules.judge_eviction),
    rules.MEMORY: (("memory",), rules.judge_memory),
}


def check_redis() -> list[Finding]:
    """All that is to be known of Redis."""
    return attempt_all(REACHABLE, _check)


def reach(client: redis.Redis, settings: Settings) -> Finding:
    """Whether Redis answers this machine, as the user that its URL names."""
    address = address_of(settings.redis_url)
    try:
        with map_errors(settings):
            client.ping()
    except RedisUnavailable as exc:
        cause = exc.__cause__
        found = f"{address} does not answer: {cause}"
        advice = advise(settings, exc)
        if isinstance(cause, redis.exceptions.AuthenticationError | redis.exceptions.NoPermissionError):
            found = f"{address} refuses: {cause}"
            advice = "Set a user and a password that it knows in IMAGEMILL_REDIS_URL, as redis://USER:PASSWORD@HOST."
        return Finding(check=REACHABLE, state=State.FAILURE, found=found, advice=advice)
    return Finding(check=REACHABLE, state=State.OK, found=f"{address} answers")


def open_once(settings: Settings) -> redis.Redis:
    """A client that tries once: the doctor waits for one time-out, not for four."""
    client = connect(settings)
    client.set_retry(Retry(NoBackoff(), 0))
    return client


def _check() -> list[Finding]:
    settings = load_settings()
    with open_once(settings) as client:
        reached = reach(client, settings)
        if reached.state is not State.OK:
            return [reached, *unchecked([RIGHTS, *_JUDGES, rules.CLOCK], "Redis cannot be reached")]
        rights = attempt(RIGHTS, lambda: check_rights(client, settings))
        judged = [
            attempt(check, lambda check=check, judged=judged: _judge(client, settings, check, *judged))  # type: ignore[misc]
            for check, judged in _JUDGES.items()
        ]
        return [reached, rights, *judged, attempt(rules.CLOCK, lambda: _clock(client, settings))]


def _judge(
    client: redis.Redis,
    settings: Settings,
    check: str,
    sections: tuple[str, ...],
    judge: Callable[[dict[str, Any]], Finding],
) -> Finding:
    with map_errors(settings):
        try:
            info = {name: value for section in sections for name, value in client.info(section).items()}
        except redis.exceptions.NoPermissionError:
            return unchecked([check], "Redis' user may not run INFO (docs/redis.md)")[0]
    return judge(info)


def _clock(client: redis.Redis, settings: Settings) -> Finding:
    """Half of the round trip is no difference of clocks: it is taken off."""
    with map_errors(settings):
        before = time.time()
        seconds, microseconds = client.time()
        after = time.time()
    ahead_s = seconds + microseconds / 1e6 - (before + after) / 2
    return rules.judge_clock(ahead_s, uncertainty_s=(after - before) / 2)

"""API keys on a real server: made, listed, revoked, looked up, and counted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from jobs import names
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings
from ops.process import wait_until
from ops.servers import RedisServer
from producer.keys.errors import KeyRefused, RateExceeded
from producer.keys.key import ApiKey, KeyLimits
from producer.keys.lookup import KeyLookup
from producer.keys.rates import RateLimits
from producer.keys.store import KeyStore
from tests.integration.producer.commands import Run, connected, lines

DEADLINE_S = 60.0


@pytest.fixture
def run(run: Run) -> Run:
    return lambda *args: run("keys", *args)


def look_up(settings: Settings, token: str) -> ApiKey | None:
    """As a process does that has just started."""

    async def find() -> ApiKey | None:
        async with connected(settings) as client:
            return await KeyLookup(client, settings).find(token)

    return asyncio.run(find())


# The store.


def change(client: redis.Redis, name: str, **fields: Any) -> None:
    """As a newer version may have written it."""
    record = json.loads(client.hget(names.API_KEYS, name) or "{}")
    client.hset(names.API_KEYS, name, json.dumps(record | fields))


def test_what_a_newer_version_wrote_of_a_key_stays_when_it_is_rotated_or_revoked(
    keys: KeyStore, redis_client: redis.Redis, settings: Settings
) -> None:
    keys.create("blog", rate="10/second")
    change(redis_client, "blog", scopes=["read"])
    token, rotated = keys.rotate("blog")
    assert look_up(settings, token) == rotated
    keys.revoke("blog")
    record = json.loads(redis_client.hget(names.API_KEYS, "blog") or "{}")
    assert (record["scopes"], record["rate"]) == (["read"], "10/second")
    assert look_up(settings, token) is None


def test_key_whose_record_is_not_understood_opens_nothing_and_hides_no_other(
    keys: KeyStore, redis_client: redis.Redis, settings: Settings
) -> None:
    """Without what is not understood, a limit perhaps, it would open too much."""
    token, _ = keys.create("blog")
    _, other = keys.create("shop")
    change(redis_client, "blog", max_queued="as many as in the contract")
    with pytest.raises(KeyRefused, match="cannot read"):
        look_up(settings, token)
    assert keys.keys() == [other]
    with pytest.raises(InvalidRequest, match="cannot read the record of key 'blog'"):
        keys.revoke("blog")


@pytest.mark.anyio
async def test_key_whose_rate_is_not_understood_opens_nothing(settings: Settings) -> None:
    key = ApiKey(name="blog", token_hash="", hint="", rate="10 bursts", created_at=0)

    async with connected(settings) as client:
        with pytest.raises(KeyRefused, match="cannot read the rate limit"):
            await RateLimits(client, settings).use(key)


def test_redis_is_not_asked_for_what_cannot_be_a_key(settings: Settings, redis_client: redis.Redis) -> None:
    def asked() -> int:
        return int(redis_client.info("commandstats").get("cmdstat_hget", {}).get("calls", 0))

    before = asked()
    for token in ("im_", f"im_{'0' * 63}", f"im_{'G' * 64}", f"sk_{'0' * 64}", f"im_{'0' * 64}\n", "x" * 50_000):
        assert look_up(settings, token) is None
    assert asked() == before
    assert look_up(settings, f"im_{'0' * 64}") is None
    assert asked() == before + 1


def test_limits_change_one_by_one_and_have_their_defaults_again(run: Run, keys: KeyStore, settings: Settings) -> None:
    token, _ = keys.create("blog", rate="10/second", max_queued=5)
    (changed,) = lines(
        run("update", "blog", "--max-queued", "7", "--reset", "rate", "--max-connections", "9", "--json")
    )
    assert (changed["max_queued"], changed["rate"], changed["max_connections"]) == (7, None, 9)
    found = look_up(settings, token)
    assert found is not None
    assert found.public() == changed
    for wrong, field in (
        (("--max-batches", "0"), "max_batches"),
        (("--reset", "name"), "name"),
        (("--rate", "often"), "rate"),
        ((), "limits"),
    ):
        refused = run("update", "blog", *wrong, "--json")
        assert refused.exit_code != 0
        assert f"{field}:" in refused.output, refused.output
    assert look_up(settings, token) == found


# Each limit as it is typed, and as it is kept then.
TYPED: dict[str, tuple[list[str], Any]] = {
    "rate": (["--rate", "10/second"], "10/second"),
    "max_queued": (["--max-queued", "5"], 5),
    "max_kept_mib": (["--max-kept", "64"], 64),
    "models": (["--model", "shapes-flow"], ["shapes-flow"]),
    "weight": (["--weight", "2.5"], 2.5),
    "max_connections": (["--max-connections", "7"], 7),
    "max_batches": (["--max-batches", "2"], 2),
    "max_uploads": (["--max-uploads", "3"], 3),
    "max_file_mib": (["--max-files", "100"], 100),
}


@pytest.mark.parametrize("limit", KeyLimits.model_fields)
def test_each_limit_can_be_given_to_a_new_key_and_to_one_that_there_is(run: Run, limit: str) -> None:
    typed, kept = TYPED[limit]
    (made,) = lines(run("create", "blog", *typed, "--json"))
    lines(run("create", "shop", "--json"))
    (changed,) = lines(run("update", "shop", *typed, "--json"))
    assert (made[limit], changed[limit]) == (kept, kept)


def test_key_is_found_by_its_token_and_by_no_other(keys: KeyStore, settings: Settings) -> None:
    token, made = keys.create("blog", rate="10/second", max_queued=5, models=["shapes-flow"])
    assert look_up(settings, token) == made
    assert (made.name, made.rate, made.max_queued, made.models) == ("blog", "10/second", 5, ("shapes-flow",))
    for other in ("", "im_", token[:-1], token.upper(), f"{token} ", made.token_hash, "blog", "im_\udcff"):
        assert look_up(settings, other) is None


def test_key_of_a_version_without_weights_has_that_of_all_others(
    keys: KeyStore, redis_client: redis.Redis, settings: Settings
) -> None:
    token, _ = keys.create("blog")
    record = json.loads(redis_client.hget(names.API_KEYS, "blog") or "{}")
    del record["weight"]
    redis_client.hset(names.API_KEYS, "blog", json.dumps(record))
    found = look_up(settings, token)
    assert found is not None
    assert found.weight == 1.0


def test_token_stands_nowhere_in_redis(keys: KeyStore, redis_client: redis.Redis) -> None:
    token, _ = keys.create("blog")
    dump = json.dumps([redis_client.hgetall(each) for each in redis_client.scan_iter("*")])
    assert "blog" in dump
    assert token not in dump
    assert token.removeprefix("im_") not in dump


def test_name_is_used_once_even_if_its_key_is_revoked(keys: KeyStore) -> None:
    keys.create("blog")
    keys.revoke("blog")
    with pytest.raises(InvalidRequest, match=r"^name: a key 'blog' exists or existed"):
        keys.create("blog")


@pytest.mark.parametrize("name", ["default", "celery"])
def test_callers_without_a_key_lend_it_no_name(keys: KeyStore, name: str) -> None:
    with pytest.raises(InvalidRequest, match="jobs without a key"):
        keys.create(name)


def test_one_of_many_who_create_a_name_at_once_has_it(settings: Settings) -> None:
    def create(_: int) -> str | None:
        with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
            try:
                return KeyStore(client, settings).create("blog")[0]
            except InvalidRequest:
                return None

    with ThreadPoolExecutor(8) as pool:
        tokens = [token for token in pool.map(create, range(8)) if token]
    assert len(tokens) == 1
    assert look_up(settings, tokens[0]) is not None


def test_revoked_key_opens_nothing_and_stays_on_the_list(keys: KeyStore, settings: Settings) -> None:
    token, _ = keys.create("blog")
    revoked = keys.revoke("blog")
    assert look_up(settings, token) is None
    assert keys.keys() == [revoked]
    assert keys.revoke("blog") == revoked
    assert keys.has_any()


def test_rotated_key_has_another_token_and_the_same_limits(keys: KeyStore, settings: Settings) -> None:
    old, made = keys.create("blog", rate="10/second", max_queued=5, max_kept_mib=64, models=["shapes-flow"], weight=2.5)
    new, rotated = keys.rotate("blog")
    assert look_up(settings, old) is None
    assert look_up(settings, new) == rotated
    limits = {"name", "rate", "max_queued", "max_kept_mib", "models", "weight"}
    assert rotated.model_dump(include=limits) == made.model_dump(include=limits)
    keys.revoke("blog")
    newest, _ = keys.rotate("blog")
    assert look_up(settings, newest) is not None


def test_keys_of_a_repeated_command_are_made_once(settings: Settings) -> None:
    class RepeatingRedis(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    with RepeatingRedis.from_url(settings.redis_url, decode_responses=True) as client:
        keys = KeyStore(client, settings)
        first, _ = keys.create("blog")
        second, _ = keys.rotate("blog")
        assert keys.revoke("blog").revoked_at
    assert [look_up(settings, token) for token in (first, second)] == [None, None]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Settings]:
    """A server of this test alone that has no memory left, and a key."""
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        KeyStore(client, Settings(redis_url=server.url)).create("blog", rate="1/hour")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 1.1))
        yield Settings(redis_url=server.url)


def test_key_can_be_revoked_when_redis_is_full(full: Settings) -> None:
    with redis.Redis.from_url(full.redis_url, decode_responses=True) as client:
        assert not KeyStore(client, full).revoke("blog").is_valid


@pytest.mark.anyio
async def test_rate_of_a_full_redis_stops_nobody(full: Settings) -> None:
    key = ApiKey(name="blog", token_hash="", hint="", rate="1/hour", created_at=1)
    async with connected(full) as client:
        for _ in range(3):
            await RateLimits(client, full).use(key)


# Lookups are remembered, for a moment.


@pytest.mark.anyio
async def test_revoked_key_is_forgotten_soon(keys: KeyStore, settings: Settings) -> None:
    token, _ = keys.create("blog")
    async with connected(settings) as client:
        lookup = KeyLookup(client, settings)
        assert await lookup.find(token)
        keys.revoke("blog")

        async def is_gone() -> bool:
            return await lookup.find(token) is None

        assert await become_true(is_gone)


@pytest.mark.anyio
async def test_api_is_open_until_the_first_key_and_never_again(keys: KeyStore, settings: Settings) -> None:
    async with connected(settings) as client:
        lookup = KeyLookup(client, settings)
        assert await lookup.is_open()
        token, _ = keys.create("blog")
        assert await lookup.find(token)
        assert not await lookup.is_open()
        keys.revoke("blog")
        assert not await KeyLookup(client, settings).is_open()
        await client.flushdb()
        assert not await lookup.is_open()


async def become_true(condition: Callable[[], Awaitable[bool]]) -> bool:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.01)
    return True


# Rates.


@pytest.mark.anyio
async def test_replicas_count_together_and_keys_apart(settings: Settings) -> None:
    one, two = (ApiKey(name=name, token_hash="", hint="", rate="3/hour", created_at=1) for name in ("one", "two"))
    async with connected(settings) as here, connected(settings) as there:
        replicas = [RateLimits(here, settings), RateLimits(there, settings)]
        for replica in (*replicas, replicas[0]):
            await replica.use(one)
        for replica in replicas:
            with pytest.raises(RateExceeded) as raised:
                await replica.use(one)
            assert 3590 < raised.value.retry_after_s <= 3600
            await replica.use(two)


@pytest.mark.anyio
async def test_rate_is_kept_by_many_uses_at_once(settings: Settings) -> None:
    key = ApiKey(name="one", token_hash="", hint="", rate="10/hour", created_at=1)
    async with connected(settings) as client:
        rates = RateLimits(client, settings)
        done = await asyncio.gather(*(rates.use(key) for _ in range(30)), return_exceptions=True)
    assert all(each is None or isinstance(each, RateExceeded) for each in done)
    assert done.count(None) == 10


@pytest.mark.anyio
async def test_used_up_rate_comes_back(settings: Settings, redis_client: redis.Redis) -> None:
    key = ApiKey(name="one", token_hash="", hint="", rate="1/second", created_at=1)
    async with connected(settings) as client:
        rates = RateLimits(client, settings)
        await rates.use(key)
        with pytest.raises(RateExceeded):
            await rates.use(key)

        async def is_back() -> bool:
            try:
                await rates.use(key)
            except RateExceeded:
                return False
            return True

        assert await become_true(is_back)
    (counted,) = redis_client.scan_iter(f"{names.API_RATES}*")
    assert redis_client.ttl(counted) > 0
    assert wait_until(lambda: not redis_client.exists(counted), DEADLINE_S)


# The commands.


def test_key_is_shown_once(run: Run, settings: Settings) -> None:
    limits = ("--rate", "600 per minute", "--max-queued", "1000", "--model", "shapes-flow", "--weight", "2.5")
    more = (
        "--max-connections",
        "20",
        "--max-batches",
        "2",
        "--max-kept",
        "64",
        "--max-files",
        "100",
        "--max-uploads",
        "3",
    )
    made = run("create", "blog", *limits, *more)
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert look_up(settings, token) is not None
    assert "shown only once" in made.stderr
    assert token not in made.stderr
    (listed,) = lines(run("list", "--json"))
    created_at = listed.pop("created_at")
    assert listed == {
        "name": "blog",
        "hint": token[:7],
        "rate": "600/minute",
        "max_queued": 1000,
        "max_kept_mib": 64,
        "max_file_mib": 100,
        "models": ["shapes-flow"],
        "weight": 2.5,
        "max_connections": 20,
        "max_batches": 2,
        "max_uploads": 3,
        "revoked_at": None,
    }
    assert created_at > 0
    table = run("list").stdout
    assert token not in table
    assert "blog" in table
    assert "2.5" in table


def test_key_as_json_has_its_token(run: Run, settings: Settings) -> None:
    (made,) = lines(run("create", "blog", "--json"))
    assert look_up(settings, made["key"]) is not None
    (rotated,) = lines(run("rotate", "blog", "--json"))
    assert look_up(settings, made["key"]) is None
    assert look_up(settings, rotated["key"]) is not None
    (revoked,) = lines(run("revoke", "blog", "--json"))
    assert revoked["revoked_at"] > 0
    assert "revoked" in run("list").stdout
    assert "blog is revoked" in run("revoke", "blog").stdout


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["create", "with space"], "name: "),
        (["create", "blog", "--rate", "often"], "rate: 'often' is not a rate"),
        (["create", "blog", "--max-queued", "0"], "max_queued: "),
        (["create", "blog", "--max-kept", "0"], "max_kept_mib: "),
        (["create", "blog", "--weight", "0"], "weight: "),
        (["create", "blog", "--weight", "101"], "weight: "),
        (["create", "blog", "--weight", "nan"], "weight: "),
        (["create", "blog", "--model", "no-such-model"], "model: there is no model 'no-such-model'; the models are "),
        (["revoke", "nobody"], "name: there is no key 'nobody'"),
        (["rotate", "nobody"], "name: there is no key 'nobody'"),
    ],
)
def test_bad_input_is_named(run: Run, args: list[str], reason: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert f"imagemill: {reason}" in result.stderr
    assert lines(run("list", "--json")) == []


def test_list_says_each_limit_whole_in_a_terminal_of_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    limits = ("--rate", "10/second", "--max-queued", "100000", "--max-files", "2048", "--weight", "2.5")
    assert run("create", "team-of-the-catalogue", *limits).exit_code == 0
    assert run("create", "plain").exit_code == 0
    shown = run("list").stdout
    assert "…" not in re.sub(r"im_\S+…", "", shown)
    cells = [line.strip("│ ").rsplit("│", 1)[-1].strip() for line in shown.splitlines() if "│" in line]
    said = " ".join(cells)
    assert "rate 10/second, weight 2.5, 100,000 queued, 2,048 MiB of files, 1,000 connections" in said
    assert said.endswith("uploads 1,000 connections, 4 batches, 4 uploads")  # Of the plain one, and no more.

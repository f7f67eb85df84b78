"""Redis behind TLS: everything that connects goes through it, and what does not fit says which setting to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.broker.app import make_app
from jobs.errors import InvalidConfiguration, RedisUnavailable
from jobs.names import queue_of
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect, connect_async, map_errors
from producer.keys.key import ApiKey
from producer.keys.rates import RateLimits
from tests.redis.servers import Certificates, ListeningRedis, client, needs_tls

pytestmark = needs_tls


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[ListeningRedis]:
    with ListeningRedis(tmp_path_factory.mktemp("redis-tls"), certificates) as server:
        yield server


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[ListeningRedis]:
    """One that asks clients for a certificate."""
    with ListeningRedis(tmp_path_factory.mktemp("redis-mtls"), certificates, asks_for_ours=True) as server:
        yield server


def ping(**settings: object) -> bool:
    told = Settings.model_validate(settings)
    with map_errors(told), connect(told) as redis_client:
        redis_client.set_retry(Retry(NoBackoff(), 0))
        return bool(redis_client.ping())


async def ping_async(told: Settings) -> bool:
    async with connect_async(told, connections=1, retries=0) as redis_client:
        with map_errors(told):
            return bool(await redis_client.ping())


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery 5.7 makes it.
def test_clients_of_both_kinds_and_celery_and_rates_go_through_tls(
    server: ListeningRedis, certificates: Certificates
) -> None:
    settings = Settings(redis_url=server.url, redis_tls_ca_file=certificates.ca)
    assert ping(redis_url=server.url, redis_tls_ca_file=certificates.ca)
    assert asyncio.run(ping_async(settings))
    assert asyncio.run(use_a_key(settings)) == 1
    with make_app(settings) as app:
        app.send_task("imagemill.run", queue=queue_of("shapes-flow"), task_id="a-job")
        app.backend.store_result("a-job", {"images": []}, "SUCCESS")
    with client(server.port or 0, certificates) as asked:
        assert asked.exists("celery-task-meta-a-job")
        assert any(key.startswith(queue_of("shapes-flow")) for key in asked.scan_iter("gpu.*"))


async def use_a_key(settings: Settings) -> int:
    """How many uses of a key Redis has counted."""
    key = ApiKey(name="ada", token_hash="", hint="", created_at=0, rate="10/minute")
    async with connect_async(settings, connections=2) as redis_client:
        await RateLimits(redis_client, settings).use(key)
        return len([found async for found in redis_client.scan_iter("*ada*")])


def test_a_certificate_of_ours_is_shown_where_it_is_asked_for(
    strict_server: ListeningRedis, certificates: Certificates
) -> None:
    trusted = {"redis_url": strict_server.url, "redis_tls_ca_file": certificates.ca}
    ours = {"redis_tls_cert_file": certificates.client, "redis_tls_key_file": certificates.client}
    assert ping(**trusted, **ours)
    with pytest.raises(RedisUnavailable, match="set IMAGEMILL_REDIS_TLS_CERT_FILE and IMAGEMILL_REDIS_TLS_KEY_FILE"):
        ping(**trusted)


def test_signer_that_is_not_known_is_refused_and_the_setting_named(
    server: ListeningRedis, certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates.make(tmp_path)
    for ca_file in (other.ca, None):
        with pytest.raises(
            RedisUnavailable, match=r"The CA that signed its certificate is not trusted.*IMAGEMILL_REDIS_TLS_CA_FILE"
        ):
            ping(redis_url=server.url, redis_tls_ca_file=ca_file)
        with pytest.raises(RedisUnavailable, match="set IMAGEMILL_REDIS_TLS_CA_FILE"):
            asyncio.run(ping_async(Settings(redis_url=server.url, redis_tls_ca_file=ca_file)))
    assert ping(redis_url=server.url, redis_tls_verify="none")
    del certificates


def test_name_that_does_not_stand_in_the_certificate_is_refused(
    server: ListeningRedis, certificates: Certificates
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(RedisUnavailable, match=r'another host.*set IMAGEMILL_REDIS_TLS_VERIFY to "ca"'):
        ping(redis_url=url, redis_tls_ca_file=certificates.ca)
    assert ping(redis_url=url, redis_tls_ca_file=certificates.ca, redis_tls_verify="ca")


def test_plain_text_to_a_port_with_tls_is_told_of_the_other_form(server: ListeningRedis) -> None:
    with pytest.raises(RedisUnavailable, match="IMAGEMILL_REDIS_URL must begin with rediss://"):
        ping(redis_url=server.url.replace("rediss://", "redis://"))


def test_file_that_is_no_certificate_is_told_of(server: ListeningRedis) -> None:
    with pytest.raises(RedisUnavailable, match="files IMAGEMILL_REDIS_TLS_CA_FILE"):
        ping(redis_url=server.url, redis_tls_ca_file=Path(__file__))


def test_file_that_is_not_there_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_TLS_CA_FILE", "/nowhere/ca.pem")
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_REDIS_TLS_CA_FILE: "):
        load_settings()

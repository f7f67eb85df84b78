"""Where Redis is, in the forms that a user may write."""

from __future__ import annotations

import pytest

from jobs.broker.addresses import broker_settings, celery_url, sentinel_transport
from jobs.process.address import address_of, check_redis_url, has_tls, sentinels_of
from jobs.process.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user:p%40ss@host:6379/1",
        "rediss://host:6380/0",
        "unix:///run/redis.sock",
        "sentinel://one,two:26380/1",
        "sentinels://:secret@[::1]:26379,two/0",
    ],
)
def test_forms_of_a_url_are_taken_as_they_are(url: str) -> None:
    assert Settings(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:6379", "must begin with one of redis://"),
        ("http://host", "must begin with one of redis://"),
        ("redis://host:port", "has no port"),
        ("redis://user:secret@host:99999", "'host:99999' has no port"),
        ("sentinel://one:x,two", "'one:x' has no port"),
        ("sentinel://one,,two", "has no host"),
        ("sentinel://one/pictures", "/pictures, which is not a database number"),
        ("sentinel://one,user:secret@two", "after the first host"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        check_redis_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["sentinel://user:p%40ss@one,two:26380/2", "sentinel://user:p%40ss@one:26379;sentinel://two:26380/2"]
)
def test_sentinels_are_read_from_both_forms(url: str) -> None:
    found = sentinels_of(url)
    assert found is not None
    assert found.hosts == (("one", 26379), ("two", 26380))
    assert (found.username, found.password, found.database) == ("user", "p@ss", 2)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host/1", "redis://host:6379/1"),
        ("rediss://:secret@[::1]:7000", "rediss://[::1]:7000"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("sentinels://:secret@one,[::1]:7/3", "sentinels://one:26379,[::1]:7/3"),
    ],
)
def test_address_is_shown_without_a_password(url: str, shown: str) -> None:
    assert address_of(url) == shown


def test_celery_gets_a_url_for_each_sentinel_with_all_that_it_needs() -> None:
    assert celery_url("sentinels://user:p%40ss@one,[::1]:7/2") == (
        "sentinel://user:p%40ss@one:26379/2;sentinel://user:p%40ss@[::1]:7/2"
    )
    assert celery_url("rediss://host/1") == "rediss://host/1"


def test_celery_is_told_of_no_more_than_there_is() -> None:
    plain = Settings(redis_url="redis://host", result_backend_url="redis://host")
    assert (broker_settings(plain), sentinel_transport(plain.redis_url, plain)) == ({}, {})


def test_results_go_through_the_door_of_the_job_table_unless_told_otherwise() -> None:
    told = broker_settings(Settings(redis_url="sentinels://one", redis_sentinel_master="pictures"))
    assert told["redis_backend_use_ssl"] == told["broker_use_ssl"]
    assert told["result_backend_transport_options"]["master_name"] == "pictures"
    off = broker_settings(Settings(redis_url="sentinels://one", result_backend_url="off"))
    assert set(off) == {"broker_use_ssl"}


def test_broker_and_results_may_be_behind_different_doors() -> None:
    settings = Settings(
        redis_url="redis://host", result_backend_url="sentinels://one", redis_sentinel_master="pictures"
    )
    told = broker_settings(settings)
    assert "broker_use_ssl" not in told
    assert told["redis_backend_use_ssl"]["ssl_check_hostname"] is True
    assert told["result_backend_transport_options"]["master_name"] == "pictures"
    assert told["result_backend_transport_options"]["sentinel_kwargs"]["ssl"] is True
    assert not has_tls(settings.redis_url)

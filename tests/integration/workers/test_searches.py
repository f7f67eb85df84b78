"""Celery messages that name pictures of other hosts, of which some never answer: real sockets, a real Redis."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
import redis
from celery import Celery
from PIL import Image

from jobs import names
from jobs.announce.notifier import Notifier
from jobs.errors import InvalidRequest, JobNotFound
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.process.settings import Settings
from jobs.table.inbox import HOLD_S, Inbox
from jobs.table.states import Status
from ops.process import wait_until
from producer.keys.store import KeyStore
from storage.inputs import Inputs
from tests.input_pictures import saved
from tests.integration.workers.outside import FIELDS, QUEUE, refusal
from tests.integration.workers.stores import Store
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption

DEADLINE_S = 60.0


class Silent:
    """A host that takes connections, and never says a word, until it hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._hang_up, daemon=True)
        self.address = f"localhost:{self._listener.getsockname()[1]}"

    def hang_up(self) -> None:
        """On all, whoever calls from now on included."""
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self.hang_up()
        assert wait_until(lambda: not any("searches" in each.name for each in threading.enumerate()), DEADLINE_S)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S)
        self._listener.close()

    def _hang_up(self) -> None:
        with suppress(OSError):  # It is closed.
            while True:
                self._listener.accept()[0].close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with closing(Silent()) as silent:
        yield silent


@pytest.fixture
def url(silent: Silent) -> str:
    return f"https://{silent.address}/a.png"


@pytest.fixture
def listing(
    context: Context, silent: Silent, own_store: Store, redis_client: redis.Redis, settings: Settings
) -> Context:
    """A worker whose operator lists that host."""
    loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    listed = settings.model_copy(update={"input_url_hosts": (silent.address,), "input_url_networks": loopback})
    files, inputs = Files(redis_client, settings), Inputs(own_store)
    finder = Finder(listed, table=context.table, files=files, objects=own_store, files_in_store=inputs)
    return replace(context, finder=finder)


@pytest.fixture
def searching(listing: Context, raw_client: redis.Redis, settings: Settings) -> Iterator[Adoption]:
    adoption = Adoption(listing, Inbox(raw_client, settings, [QUEUE]))
    yield adoption
    listing.draining.set()
    adoption.run()  # Which ends its threads.


@pytest.fixture
def files(redis_client: redis.Redis, settings: Settings) -> Files:
    return Files(redis_client, settings)


def edit(sender: Celery, image: Any, **fields: Any) -> str:
    kwargs = {**FIELDS, "image": image, **fields}
    return str(sender.send_task("imagemill.edit", kwargs=kwargs, queue=QUEUE).id)


def generate(sender: Celery, **fields: Any) -> str:
    return str(sender.send_task(names.GENERATE_TASK, kwargs={**FIELDS, **fields}, queue=QUEUE).id)


def inline(side: int = 8) -> str:
    return f"data:image/png;base64,{base64.b64encode(saved(Image.effect_noise((side, side), 90))).decode()}"


def test_silent_host_holds_up_its_own_messages_alone(
    searching: Adoption, listing: Context, sender: Celery, url: str, silent: Silent, redis_client: redis.Redis
) -> None:
    silent_ones = [edit(sender, url) for _ in range(12)]  # More than there are threads.
    other = generate(sender)
    assert searching.run_once() == 13
    assert listing.table.get(other).status is Status.QUEUED
    assert searching.run_once() == 0
    later = edit(sender, inline())
    searching.run_once()
    assert listing.table.get(later).status is Status.QUEUED
    assert redis_client.hlen(names.HELD) == 12
    for each in silent_ones:
        with pytest.raises(JobNotFound):
            listing.table.get(each)
    silent.hang_up()

    def have_ended() -> bool:
        searching.run_once()
        return redis_client.hlen(names.HELD) == 0

    assert wait_until(have_ended, DEADLINE_S)
    for each in silent_ones:
        record = listing.table.get(each)
        assert (record.status, record.error and record.error.message) == (
            Status.FAILED,
            "image: localhost does not answer",
        )


def test_message_stays_in_hand_while_its_host_is_silent(
    searching: Adoption,
    sender: Celery,
    url: str,
    raw_client: redis.Redis,
    redis_client: redis.Redis,
    settings: Settings,
) -> None:
    edit(sender, url)
    searching.run_once()
    (tag,) = redis_client.zrange(names.HELD_UNTIL, 0, -1)
    began_s = float(redis_client.time()[0])
    redis_client.zadd(names.HELD_UNTIL, {str(tag): began_s + 1})
    searching.run_once()
    until_s = redis_client.zscore(names.HELD_UNTIL, str(tag))
    assert until_s is not None
    assert until_s >= began_s + HOLD_S
    assert Inbox(raw_client, settings, [QUEUE]).take(9) == []


def test_worker_that_stops_leaves_its_messages_to_others(
    searching: Adoption, listing: Context, sender: Celery, url: str, raw_client: redis.Redis, settings: Settings
) -> None:
    edit(sender, url)
    searching.run_once()
    other = Inbox(raw_client, settings, [QUEUE])
    assert other.take(9) == []
    listing.draining.set()
    searching.run()
    (held,) = other.take(9)
    assert held.takings <= settings.max_attempts


def test_what_is_wrong_beside_a_url_is_refused_when_that_was_asked(
    searching: Adoption, sender: Celery, notifier: Notifier, url: str, silent: Silent, redis_client: redis.Redis
) -> None:
    silent.hang_up()
    task_id = edit(sender, url, mask="file-" + "a" * 24)
    assert wait_until(lambda: searching.run_once() == 0 and redis_client.hlen(names.HELD) == 0, DEADLINE_S)
    assert "image: localhost does not answer" in refusal(searching, notifier, sender, task_id)


def test_urls_of_one_request_have_a_time_together(listing: Context, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.inputs.find.MAX_FETCHES_S", 0.0)
    with pytest.raises(InvalidRequest, match="image: the URLs of this request take more than 0 s"):
        listing.finder.find({"kind": "edit", "image": url}, scope=None, owner="default")


# What a key may have.


def test_files_of_a_key_are_bounded_by_what_it_may_have(
    adoption: Adoption,
    sender: Celery,
    notifier: Notifier,
    files: Files,
    redis_client: redis.Redis,
    settings: Settings,
    own_store: Store,
) -> None:
    KeyStore(redis_client, settings).create("small", max_file_mib=1)
    says = refusal(adoption, notifier, sender, edit(sender, inline(1_200), caller="small"))
    assert "small" in says
    assert files.list(None, limit=9) == []
    assert refusal_free(adoption, sender, redis_client, caller="large")
    (kept,) = files.list(None, limit=9)
    assert (kept.caller, kept.purpose) == ("large", "input")


def refusal_free(adoption: Adoption, sender: Celery, client: redis.Redis, **fields: Any) -> bool:
    """Whether a job is made of the same message of somebody else."""
    job_id = edit(sender, inline(1_200), **fields)
    adoption.run_once()
    return client.hget(names.job_key(job_id), "status") == Status.QUEUED


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"prompt": ""}, "prompt"), ({"caller": "full"}, "full"), ({"idempotency_key": "a key"}, "idempotency_key")],
)
def test_refused_message_leaves_no_file(
    adoption: Adoption,
    sender: Celery,
    notifier: Notifier,
    files: Files,
    redis_client: redis.Redis,
    settings: Settings,
    own_store: Store,
    fields: dict[str, Any],
    says: str,
) -> None:
    KeyStore(redis_client, settings).create("full", max_queued=1)
    generate(sender, caller="full")
    generate(sender, idempotency_key="a key")
    adoption.run_once()
    stood = {each.key for each in own_store.objects()}
    assert says in refusal(adoption, notifier, sender, edit(sender, inline(), **fields))
    assert files.list(None, limit=9) == []
    assert {each.key for each in own_store.objects()} == stood

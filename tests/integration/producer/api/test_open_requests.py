"""How much of one process a key may have open, and how it is told; `test_revoked` has how what is open ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.keys.key import KeyLimits
from producer.keys.store import KeyStore
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.sse import listening
from tests.integration.producer.api.test_batches import JSONL, jsonl, lines, send
from tests.integration.producer.api.test_jobs import IMAGE

PROMPT = "a large red circle on a blue background"
BODY = {"prompt": PROMPT}

MakeKey = Callable[..., dict[str, str]]


@pytest.fixture
def client(replica: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


@contextmanager
def sending_batch(replica: str, headers: dict[str, str], *first: object) -> Iterator[Callable[..., httpx.Response]]:
    """A batch whose first lines have been sent; gives what sends the others, and gives its answer."""
    rest: list[bytes] = []
    go_on = threading.Event()
    answers: list[httpx.Response] = []

    def body() -> Iterator[bytes]:
        yield jsonl(*first).encode()
        assert go_on.wait(DEADLINE_S)
        yield from rest

    def post() -> None:
        sent = {**headers, **JSONL}
        url = f"{replica}/v1/jobs/batch"
        answers.append(httpx.post(url, content=body(), headers=sent, timeout=DEADLINE_S, trust_env=False))

    def finish(*items: object) -> httpx.Response:
        rest.append(jsonl(*items).encode())
        go_on.set()
        sender.join(DEADLINE_S)
        return answers[0]

    sender = threading.Thread(target=post)
    sender.start()
    try:
        yield finish
    finally:
        finish()


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_key_has_so_many_requests_open_and_another_goes_on(client: httpx.Client, make_key: MakeKey) -> None:
    one, two = make_key("one", max_connections=2), make_key("two")
    job = client.post("/v1/jobs", json=BODY, headers=one).json()
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(listening(job["events_url"], headers=one))
        for method, path in (("GET", job["status_url"]), ("GET", job["events_url"]), ("POST", "/v1/jobs/batch")):
            refused = client.request(method, path, headers=one)
            assert (code_of(refused), refused.headers["retry-after"]) == ((429, "too_many_connections"), "1")
        openai = client.post("/v1/images/generations", json=BODY, headers=one)
        assert code_of(openai) == (429, "too_many_connections")
        assert openai.json()["error"]["type"] == "rate_limit_error"
        assert client.post("/v1/jobs", json=BODY, headers=two).status_code == 202
    assert wait_until(lambda: client.get(job["status_url"], headers=one).status_code == 200, DEADLINE_S)


def test_wait_is_an_open_request(client: httpx.Client, replica: str, make_key: MakeKey, table: JobTable) -> None:
    one = make_key("one", max_connections=1)
    waiting = threading.Thread(
        target=httpx.post,
        args=(f"{replica}/v1/jobs",),
        kwargs={"json": BODY, "headers": {**one, "Prefer": "wait=5"}, "timeout": DEADLINE_S, "trust_env": False},
    )
    waiting.start()
    assert wait_until(lambda: bool(table.list_jobs("one")[0]), DEADLINE_S)
    assert client.get("/v1/limits", headers=one).status_code == 429
    table.cancel(table.list_jobs("one")[0][0].id)
    waiting.join(DEADLINE_S)
    assert wait_until(lambda: client.get("/v1/limits", headers=one).status_code == 200, DEADLINE_S)


def test_answer_that_its_client_does_not_read_is_an_open_request(
    client: httpx.Client, make_key: MakeKey, table: JobTable, store: S3Store
) -> None:
    one = make_key("one", max_connections=1)
    key, size = "unread/0.png", 16 << 20
    store.put(key, b"a" * size, "image/png")
    claim = claim_job(table, client.post("/v1/jobs", json=BODY, headers=one).json()["id"])
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE | {"key": key}])
    path = f"/v1/jobs/{claim.job_id}/images/0"
    with closing(HTTPConnection(urlsplit(str(client.base_url)).netloc, timeout=DEADLINE_S)) as slow:
        slow.request("GET", path, headers=one)
        answer = slow.getresponse()
        assert code_of(client.get("/v1/limits", headers=one)) == (429, "too_many_connections")
        assert len(answer.read()) == size
        assert client.get(path, headers=one).content == b"a" * size


def test_key_sends_so_many_batches_at_a_time(client: httpx.Client, replica: str, make_key: MakeKey) -> None:
    one, two = make_key("one", max_batches=1), make_key("two", max_batches=1)
    with sending_batch(replica, one, BODY) as finish:
        told = {"connections": 2, "batches": 1, "uploads": 0}
        assert wait_until(lambda: client.get("/v1/limits", headers=one).json()["open"] == told, DEADLINE_S)
        refused = client.post("/v1/jobs/batch", content=jsonl(BODY), headers={**JSONL, **one})
        assert (code_of(refused), refused.headers["retry-after"]) == ((429, "too_many_batches"), "5")
        assert client.get("/v1/jobs/batches/none/results", headers=one).status_code == 429
        assert client.post("/v1/jobs", json=BODY, headers=one).status_code == 202
        assert client.post("/v1/jobs/batch", content=jsonl(BODY), headers={**JSONL, **two}).status_code == 200
        assert [each["error"] for each in lines(finish(BODY).text)] == [None, None]
    again = client.post("/v1/jobs/batch", content=jsonl(BODY), headers={**JSONL, **one})
    assert again.status_code == 200


def test_bodies_of_a_key_have_so_many_bytes_together(
    client: httpx.Client, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.keys.open_requests.MOST_BYTES", 10_000)
    one, two = make_key("one"), make_key("two")
    with closing(HTTPConnection(urlsplit(str(client.base_url)).netloc, timeout=DEADLINE_S)) as sender:
        sender.putrequest("POST", "/v1/jobs")
        for name, value in {**one, "Content-Type": "application/json", "Content-Length": "9001"}.items():
            sender.putheader(name, value)
        sender.endheaders(b" " * 9_000)
        large = {**BODY, "negative_prompt": "x" * 4_000, "guidance_scale": 2}
        refused = until_refused(lambda: client.post("/v1/jobs", json=large, headers=one))
        assert (code_of(refused), refused.headers["retry-after"]) == ((429, "too_many_bytes"), "1")
        assert client.post("/v1/jobs", json=large, headers=two).status_code == 202
    assert wait_until(lambda: client.post("/v1/jobs", json=large, headers=one).status_code == 202, DEADLINE_S)


def until_refused(ask: Callable[[], httpx.Response]) -> httpx.Response:
    answers: list[httpx.Response] = []

    def is_refused() -> bool:
        answers.append(ask())
        return answers[-1].status_code == 429

    assert wait_until(is_refused, DEADLINE_S)
    return answers[-1]


def test_callers_without_a_key_have_bounds_too(api: TestClient) -> None:
    told = api.get("/v1/limits").json()
    limits = KeyLimits()
    assert told == {
        **{"object": "limits", "caller": "default", "rate": None, "max_queued": None, "models": None, "weight": 1.0},
        **{"max_connections": limits.max_connections, "max_batches": limits.max_batches, "max_kept_mib": None},
        **{"max_uploads": limits.max_uploads, "max_file_mib": Settings().max_file_mib},
        "open": {"connections": 1, "batches": 0, "uploads": 0},
    }


def test_limits_of_a_key_are_told_and_change(api: TestClient, make_key: MakeKey, keys: KeyStore) -> None:
    one = make_key("one", rate="100/minute", max_queued=7, weight=2.5, models=["shapes-flow"], max_batches=2)
    told = api.get("/v1/limits", headers=one).json()
    assert (told["rate"], told["max_queued"], told["weight"], told["models"]) == ("100/minute", 7, 2.5, ["shapes-flow"])
    keys.update("one", max_queued=9, rate=None)

    def changed() -> bool:
        told = api.get("/v1/limits", headers=one).json()
        return (told["rate"], told["max_queued"], told["weight"]) == (None, 9, 2.5)

    assert wait_until(changed, DEADLINE_S)


# What is spooled.


def test_errors_repeat_no_more_than_a_bit_of_what_they_were_sent(api: TestClient) -> None:
    """A line's answer is bounded, whatever its line was."""
    long = "x" * 100_000
    _, answers = send(
        api, {"prompt": PROMPT, long: 1}, {"prompt": PROMPT, "model": long}, {"prompt": PROMPT, "n": long}
    )
    assert [(each["error"] or {}).get("code") is not None for each in answers] == [True] * 3
    assert max(len(json.dumps(each)) for each in answers) < 2_000
    single = api.post("/v1/jobs", json={"prompt": PROMPT, long: 1})
    assert (single.status_code, len(single.text) < 2_000) == (422, True)


def test_answer_that_gets_too_long_ends_the_batch_and_says_so(
    api: TestClient, table: JobTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 10)
    monkeypatch.setattr("producer.api.spool.MOST_BYTES", 100_000)
    _, answers = send(api, *[{"prompt": PROMPT, "custom_id": "c" * 255}] * 500)
    assert answers[-1]["error"]["code"] == "answer_too_long"
    assert [each["error"] for each in answers[:-1]] == [None] * (len(answers) - 1)
    assert 10 < len(answers) < 500
    assert sum(each.waiting + each.released for each in table.queues()) == len(answers) - 1


def test_process_has_so_much_for_all_batches(api: TestClient, table: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.api.spool.MOST_BYTES_OF_ALL", 1_000)
    refused = api.post("/v1/jobs/batch", content=jsonl(BODY), headers=JSONL)
    assert (code_of(refused), refused.headers["retry-after"]) == ((503, "disk_full"), "2")
    assert table.queues() == []
    monkeypatch.undo()
    send(api, BODY)  # What was used was given back.


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """
    Meanwhile no file of this process gets longer than so many bytes.

    It has to be over with the test: pytest, too, may write into a file.
    """
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, before)


def test_full_disk_refuses_a_batch_before_any_job_is_queued(
    api: TestClient, table: JobTable, redis_client: redis.Redis
) -> None:
    with full_disk(1_000):
        refused = api.post("/v1/jobs/batch", content=jsonl(*[BODY] * 20), headers=JSONL)
    assert code_of(refused) == (503, "disk_full")
    assert table.queues() == []
    assert not redis_client.keys(names.batch_key("*"))


def test_disk_that_fills_up_meanwhile_is_told_behind_what_was_queued(api: TestClient, table: JobTable) -> None:
    with full_disk(1_000_000):
        _, answers = send(api, *[{"prompt": PROMPT, "custom_id": "c" * 255}] * 5_000)
    assert answers[-1]["error"]["code"] == "disk_full"
    assert sum(each.waiting + each.released for each in table.queues()) == len(answers) - 1 > 0


def test_batches_leave_no_file(api: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    send(api, *[BODY] * 300)
    api.post("/v1/jobs/batch", content="[1", headers={"Content-Type": "application/json"})
    assert list(tmp_path.iterdir()) == []


# Pages.


def test_page_of_jobs_with_long_prompts_has_fewer_of_them(api: TestClient) -> None:
    long = {
        "prompt": "ä" * 4_000,
        "negative_prompt": "ö" * 4_000,
        "guidance_scale": 2,
        "metadata": {f"{n:064}": "ü" * 512 for n in range(16)},
    }
    send(api, *[long] * 100)
    seen: list[str] = []
    cursor, pages = None, 0
    while cursor is not None or not pages:
        query = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        answer = api.get("/v1/jobs", params=query)
        assert len(answer.content) < 2 << 20
        seen += [each["id"] for each in answer.json()["data"]]
        cursor, pages = answer.json()["next_cursor"], pages + 1
    assert (len(seen), len(set(seen))) == (100, 100)
    assert 1 < pages < 10

"""What two keys do for hours: single jobs, batches, Celery, cancels, deadlines; each job is followed to its end."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import redis
from celery import Celery
from celery import exceptions as celery_exceptions
from kombu.exceptions import OperationalError

from ops.process import LOOPBACK
from tests.blackbox.outside import generate
from tests.blackbox.system import ENDED, Answer, Command

PATIENCE_S = 400.0  # for a job's end, with all that happens meanwhile
LONG_STEPS = 1_000

_PAUSE_S = 0.5
_POLL_S = 0.3
_BATCH = 20
_SENT_AT_ONCE = 3
_PROMPT = "a red circle on a blue background"

_AWAY = (OSError, http.client.HTTPException)


class Ledger:
    """
    What became of everything.

    Attributes:
        ended: How many jobs have ended as they should, by the way that they came and their end.
        refused: How many requests were not taken, by why; they are sent again as others.
        lost: What should not have been, a sentence each.
    """

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.lost: list[str] = []
        self._lock = threading.Lock()

    def end(self, way: str, job_id: str, status: str, wanted: Iterable[str]) -> None:
        with self._lock:
            self.ended[f"{way} {status}"] += 1
            if status not in wanted:
                self.lost.append(f"{way}: job {job_id} is {status}")

    def refuse(self, why: object) -> None:
        with self._lock:
            self.refused[str(why)] += 1

    def lose(self, what: str) -> None:
        with self._lock:
            self.lost.append(what)


class Caller:
    """Somebody with a key, who does all of it at the same time until he is told to stop."""

    def __init__(self, name: str, key: str, api: Command, app: Celery, ledger: Ledger) -> None:
        self._name, self._key, self._api, self._app, self._ledger = name, key, api, app, ledger
        self._stopping = threading.Event()
        self._dice = random.Random(name)
        ways = (self._single, self._followed, self._batch, self._by_celery, self._canceled, self._expired, self._later)
        self._threads = [threading.Thread(target=self._go_on, args=(way,), daemon=True) for way in ways]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """Submit no more, and wait for what is under way."""
        self._stopping.set()
        for each in self._threads:
            each.join()

    def _go_on(self, way: Callable[[], None]) -> None:
        while not self._stopping.wait(_PAUSE_S):
            try:
                way()
            except Exception as exc:  # noqa: BLE001 - told at the end; a thread less would be less load
                self._ledger.lose(f"{way.__name__}: {type(exc).__name__}: {exc}")

    def _ask(self, method: str, path: str, body: Any = None) -> Answer | None:
        """None for what was not answered."""
        try:
            return self._api.http(method, path, body, self._key)
        except _AWAY as exc:
            self._ledger.refuse(type(exc).__name__)
            return None

    def _submit(self, **fields: Any) -> str | None:
        answer = self._ask("POST", "/v1/jobs", {"prompt": _PROMPT, "num_inference_steps": 5, **fields})
        if answer is None:
            return None
        if answer.status != 202:
            self._ledger.refuse(f"{answer.status} {answer.body['error']['code']}")
            return None
        return str(answer.body["id"])

    def _wait(self, way: str, job_id: str, *wanted: str) -> dict[str, Any] | None:
        """Its record, when it has ended; what has ended otherwise than `wanted` is lost."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answer = self._ask("GET", f"/v1/jobs/{job_id}")
            if answer and answer.status == 200 and answer.body["status"] in ENDED:
                error = answer.body["error"] or {}
                status = answer.body["status"]
                code = f" ({error.get('code')})" if status == "failed" else ""
                self._ledger.end(way, job_id, status + code, wanted)
                return dict(answer.body)
            if answer and answer.status == 404:
                self._ledger.lose(f"{way}: job {job_id} is not there")
                return None
            time.sleep(_POLL_S)
        self._ledger.lose(f"{way}: job {job_id} has not ended within {PATIENCE_S:g} s")
        return None

    def _single(self) -> None:
        job_id = self._submit(n=self._dice.choice((1, 2)))
        record = self._wait("single", job_id, "succeeded") if job_id else None
        for image in record["images"] if record else ():
            self._fetch(image["url"])

    def _fetch(self, url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - a link of our own
                if not answer.read():
                    self._ledger.lose(f"{url} is empty")
        except urllib.error.HTTPError as exc:
            self._ledger.refuse(f"image {exc.code}")  # The store is away.
        except OSError as exc:
            self._ledger.refuse(f"image {type(exc).__name__}")

    def _followed(self) -> None:
        """By its events, which come again where the stream is cut."""
        if not (job_id := self._submit()):
            return
        last, end = "", time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            events, last = self._events(job_id, last)
            if "completed" in events:
                self._wait("followed", job_id, "succeeded")
                return
            time.sleep(_POLL_S)
        self._ledger.lose(f"followed: the events of {job_id} had no end")

    def _events(self, job_id: str, last: str) -> tuple[list[str], str]:
        headers = {"Authorization": f"Bearer {self._key}"} | ({"Last-Event-ID": last} if last else {})
        connection = http.client.HTTPConnection(LOOPBACK, self._api.port or 0, timeout=60)
        events: list[str] = []
        try:
            connection.request("GET", f"/v1/jobs/{job_id}/events", headers=headers)
            for line in connection.getresponse():
                name, _, value = line.decode().strip().partition(": ")
                if name == "event":
                    events.append(value)
                last = value if name == "id" else last
        except _AWAY as exc:
            self._ledger.refuse(f"events {type(exc).__name__}")
        finally:
            connection.close()
        return events, last

    def _batch(self) -> None:
        items = [{"prompt": _PROMPT, "num_inference_steps": 3, "custom_id": str(number)} for number in range(_BATCH)]
        answer = self._ask("POST", "/v1/jobs/batch", items)
        if answer is None or answer.status != 200:
            self._ledger.refuse(f"batch {answer and answer.status}")
            return
        for line in answer.body:
            if line["id"]:
                self._wait("batch", line["id"], "succeeded")
            else:
                self._ledger.refuse(f"line {line['error']['code']}")

    def _by_celery(self) -> None:
        try:
            sent = [
                generate(self._app, {"num_inference_steps": 5, "caller": self._name}).apply_async(retry=False)
                for _ in range(_SENT_AT_ONCE)
            ]
        except (OperationalError, redis.exceptions.RedisError) as exc:
            self._ledger.refuse(f"celery {type(exc).__name__}")
            return
        for each in sent:
            self._ledger.end("celery", each.id, self._told(each), ("succeeded",))

    @staticmethod
    def _told(result: Any) -> str:
        """How a task has ended, as its sender hears of it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                status = str(result.get(timeout=10, disable_sync_subtasks=False)["status"])
                result.forget()  # Celery keeps it for a day: that is growth, too.
                return status
            except celery_exceptions.TimeoutError:
                continue
            except (OperationalError, *_REDIS_AWAY):
                time.sleep(_POLL_S)
            except Exception as exc:  # noqa: BLE001 - what the task raised, whatever it is
                return f"{type(exc).__name__}: {exc}"
        return f"not told within {PATIENCE_S:g} s"

    def _canceled(self) -> None:
        if job_id := self._submit(num_inference_steps=LONG_STEPS):
            time.sleep(self._dice.uniform(0, 2))
            answer = self._ask("DELETE", f"/v1/jobs/{job_id}")
            while answer is None or answer.status != 200:
                time.sleep(_POLL_S)
                answer = self._ask("DELETE", f"/v1/jobs/{job_id}")
            self._wait("canceled", job_id, "canceled")

    def _expired(self) -> None:
        if job_id := self._submit(num_inference_steps=LONG_STEPS, deadline=2):
            self._wait("deadline", job_id, "expired")

    def _later(self) -> None:
        if job_id := self._submit(start_after=self._dice.uniform(0.5, 5)):
            self._wait("later", job_id, "succeeded")


_REDIS_AWAY = (redis.exceptions.RedisError, json.JSONDecodeError)

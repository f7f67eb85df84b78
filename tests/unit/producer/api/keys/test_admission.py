"""How a request ends whose key is revoked: in the form of what it has begun to answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from producer.api.keys.admission import Admission
from producer.api.keys.callers import Caller
from producer.api.keys.open_requests import OpenRequests
from producer.keys.errors import KeyRefused

pytestmark = pytest.mark.anyio

TYPES = {"lines": "application/jsonl", "events": "text/event-stream; charset=utf-8", "file": "image/png"}


async def ended(answer_type: str | None, is_last: bool = False) -> list[Message]:
    """What is sent by a request that would go on for ever, and whose caller is refused."""
    open_requests, sent = OpenRequests(), []
    has_begun, finish = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["open_request"].admit(Caller())
        if answer_type is not None:
            headers = [(b"content-type", answer_type.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"whole", "more_body": True})
        has_begun.set()
        await finish.wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    task = asyncio.create_task(
        Admission(app, open_requests, lambda _: "")({"type": "http", "headers": []}, receive, send)
    )
    await has_begun.wait()
    (open_request,) = open_requests.with_callers()
    for _ in range(2):  # As the watch does, which looks again.
        open_request.refuse(KeyRefused("revoked"))
    if is_last:
        finish.set()
    await task
    assert open_requests.with_callers() == []
    return sent


def error_in(text: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(text)["error"]
    return error


async def test_lines_end_with_the_error_on_a_line_of_its_own() -> None:
    *_, last = await ended(TYPES["lines"])
    assert last["body"].startswith(b"\n")
    assert (error_in(last["body"].decode())["code"], last["more_body"]) == ("invalid_api_key", False)


async def test_events_end_with_one_that_says_why() -> None:
    *_, last = await ended(TYPES["events"])
    kind, data = last["body"].decode().strip().split("\n")
    assert (kind, last["more_body"]) == ("event: refused", False)
    assert error_in(data.removeprefix("data: "))["message"] == "revoked"


async def test_what_is_not_answered_yet_is_refused() -> None:
    start, body = await ended(None)
    assert (start["status"], error_in(body["body"].decode())["code"]) == (401, "invalid_api_key")


async def test_file_comes_whole() -> None:
    """It is whole in memory, and has no place for another word."""
    _, body = await ended(TYPES["file"], is_last=True)
    assert body["body"] == b"whole"


async def test_who_is_canceled_by_others_is_not_told() -> None:
    """A process that stops cancels, too."""
    open_requests = OpenRequests()
    has_begun = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["open_request"].admit(Caller())
        has_begun.set()
        await asyncio.Event().wait()

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    task = asyncio.create_task(
        Admission(app, open_requests, lambda _: "")({"type": "http", "headers": []}, nothing, nothing)
    )
    await has_begun.wait()
    (open_request,) = open_requests.with_callers()
    open_request.refuse(KeyRefused("revoked"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("is_refused", [False, True])
async def test_seat_is_free_before_the_last_byte_is_read(is_refused: bool) -> None:
    """A client that sends one request after another has never two open."""
    open_requests, taken = OpenRequests(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["open_request"].admit(Caller())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        if is_refused:
            raise KeyRefused("revoked")
        await send({"type": "http.response.body", "body": b"more"})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        taken.append(len(open_requests.with_callers()))

    await Admission(app, open_requests, lambda _: "")({"type": "http", "headers": []}, receive, send)
    assert taken == [1, 1, 0]

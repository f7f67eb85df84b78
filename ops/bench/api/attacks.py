"""
What clients may do to an API that others use: too much, too deep, too slow, too many.

`python -m ops.bench.api.attacks NAME HOST PORT JOB SECONDS` does one for a while, in a process of its own, and prints
the statuses that it was answered, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

from ops.bench.api.http_load import Target, connected

STREAMS = 500

_MEGABYTE = 1 << 20
_BODY_MEGABYTES = 50
_LARGE, _LONG, _DEEP, _SLOW = 2, 4, 4, 200
_PROMPT_CHARS = 1_000_000
_LEVELS = 10_000
_BYTE_EVERY_S = 1.0
_JSON = "Content-Type: application/json"

Note = Callable[[str], None]  # Of a status, when it comes.
Attacker = Callable[[Target, int, Note], Awaitable[None]]


async def large_body(target: Target, number: int, note: Note) -> None:
    """50 MB, with the length in the head and without, by turns."""
    is_chunked = number % 2
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {_BODY_MEGABYTES * _MEGABYTE}"
    megabyte = b" " * _MEGABYTE
    part = b"%x\r\n%s\r\n" % (_MEGABYTE, megabyte) if is_chunked else megabyte
    async with connected(target) as connection:
        await connection.send(target.head("POST", "/v1/jobs", _JSON, length))
        with suppress(ConnectionError):  # It may have answered already.
            for _ in range(_BODY_MEGABYTES):
                await connection.send(part)
        note(await connection.status())


async def long_prompt(target: Target, _: int, note: Note) -> None:
    """A million characters."""
    await _post(target, json.dumps({"prompt": "x" * _PROMPT_CHARS}).encode(), note)


async def deep_json(target: Target, number: int, note: Note) -> None:
    """10,000 levels, of arrays and of objects."""
    opening, closing = ((b"[", b"]"), (b'{"a":', b"}"))[number % 2]
    await _post(target, opening * _LEVELS + b"1" + closing * _LEVELS, note)


async def slow_client(target: Target, number: int, note: Note) -> None:
    """A byte a second, of the head or of the body."""
    head = target.head("POST", "/v1/jobs", _JSON, "Content-Length: 1000")
    is_in_body = number % 2
    async with connected(target) as connection:
        if is_in_body:
            await connection.send(head)
        status = asyncio.create_task(connection.status())
        for byte in b"{" * 1000 if is_in_body else head:
            with suppress(ConnectionError):
                await connection.send(bytes([byte]))
            if (await asyncio.wait([status], timeout=_BYTE_EVERY_S))[0]:
                break
        note(await status)


async def event_stream(target: Target, _: int, note: Note) -> None:
    """Opened, and kept as long as it is let."""
    async with connected(target) as connection:
        await connection.send(target.head("GET", f"/v1/jobs/{target.job_id}/events"))
        note(await connection.status())
        while await connection.read():
            pass


# How many do it at once.
ATTACKS: dict[str, tuple[Attacker, int]] = {
    "50 MB bodies": (large_body, _LARGE),
    "million-character prompts": (long_prompt, _LONG),
    "10,000 levels of JSON": (deep_json, _DEEP),
    "clients of 1 byte/s": (slow_client, _SLOW),
    f"{STREAMS} event streams": (event_stream, STREAMS),
}


async def attack(name: str, target: Target, seconds: float) -> Counter[str]:
    """Do it again and again; how often each status was the answer."""
    attacker, at_once = ATTACKS[name]
    numbers, answered = count(), Counter[str]()

    def note(status: str) -> None:
        answered[status] += 1

    async def go_on() -> None:
        while True:
            try:
                await attacker(target, next(numbers), note)
            except ConnectionError as exc:
                note(type(exc).__name__)

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(go_on() for _ in range(at_once)))
    return answered


async def _post(target: Target, body: bytes, note: Note) -> None:
    async with connected(target) as connection:
        await connection.send(target.head("POST", "/v1/jobs", _JSON, f"Content-Length: {len(body)}") + body)
        note(await connection.status())


def main(name: str, host: str, port: str, job_id: str, seconds: str) -> None:
    """As a process."""
    answered = asyncio.run(attack(name, Target(host=host, port=int(port), job_id=job_id), float(seconds)))
    sys.stdout.write(json.dumps(answered) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Connections that are kept: sent slowly, not read, or listened to by too many."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ops.bench.api.attacks.attack import JSON, JSON_LINES, LET_GO, Attack, Note, ask, post, request
from ops.bench.api.http_load import Target, connected

STREAMS = 500

_BYTE_EVERY_S = 1.0
_HOST_CHARS = 60_000
_LISTED, _PIPELINED = 100, 50
_RECORDS = 100
_WAIT_S = 30
_PAUSE_S = 0.1


async def slow_client(target: Target, number: int, note: Note) -> None:
    """A byte a second, of the head or of the body."""
    head = target.head("POST", "/v1/jobs", JSON, "Content-Length: 1000")
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


async def many_jobs(target: Target, note: Note) -> None:
    """Something to be listed: jobs with long prompts."""
    batch = b"\n".join([request(prompt="x" * 4_000, start_after=3_600.0)] * _RECORDS)
    note((await post(target, "/v1/jobs/batch", batch, JSON_LINES))[0])


async def unread_lists(target: Target, _: int, note: Note) -> None:
    """Long lists, asked for again and again on one connection, of which no byte is read."""
    async with connected(target) as connection:
        one = target.head("GET", f"/v1/jobs?limit={_LISTED}")
        connection.stop_reading()
        note("asked")
        while True:
            await connection.send(one * _PIPELINED)


async def long_host(target: Target, _: int, note: Note) -> None:
    """A host's name that would be in every link of the answer."""
    lines = [f"Host: {'h' * _HOST_CHARS}", "Connection: close"]
    lines += [f"Authorization: Bearer {target.token}"] if target.token else []
    async with connected(target) as connection:
        await connection.send("\r\n".join([f"GET /v1/jobs?limit={_LISTED} HTTP/1.1", *lines, "", ""]).encode())
        note(await connection.status())
        while await connection.read():
            pass


async def long_waits(target: Target, number: int, note: Note) -> None:
    """Jobs that nobody runs before tomorrow, waited for."""
    body = request(start_after=86_400.0, seed=number)
    async with connected(target) as connection:
        lines = (JSON, f"Prefer: wait={_WAIT_S}", f"Content-Length: {len(body)}")
        await connection.send(target.head("POST", "/v1/jobs", *lines) + body)
        note(await connection.status())


async def revoked_stream(target: Target, _: int, note: Note) -> None:
    """An event stream of a key that is revoked; the client connects again, and reads the job itself, too."""
    async with connected(target) as connection:
        await connection.send(target.head("GET", f"/v1/jobs/{target.job_id}/events"))
        status = await connection.status()
        note(status)
        while status == "200" and await connection.read():
            pass
    if status == "200":
        note(LET_GO)
    else:
        await asyncio.sleep(_PAUSE_S)  # As `EventSource` does, and sooner.


async def revoked_wait(target: Target, number: int, note: Note) -> None:
    """The same of an answer that is waited for."""
    body = request(start_after=86_400.0, seed=number)
    async with connected(target) as connection:
        lines = (JSON, f"Prefer: wait={_WAIT_S}", f"Content-Length: {len(body)}")
        await connection.send(target.head("POST", "/v1/jobs", *lines) + body)
        note(await connection.status())
    if (await ask(target, "GET", "/v1/jobs?limit=1"))[0] == "401":
        note(LET_GO)
        await asyncio.sleep(_PAUSE_S)


CONNECTIONS = {
    "clients of 1 byte/s": Attack(attacker=slow_client, at_once=200),
    f"{STREAMS} event streams": Attack(attacker=event_stream, at_once=STREAMS),
    "answers that nobody reads": Attack(attacker=unread_lists, at_once=40, before=many_jobs),
    "hosts of 60,000 bytes": Attack(attacker=long_host, at_once=40, before=many_jobs),
    "answers that are waited for": Attack(attacker=long_waits, at_once=100),
    "streams of a revoked key": Attack(attacker=revoked_stream, at_once=50, is_revoked=True),
    "waits of a revoked key": Attack(attacker=revoked_wait, at_once=20, is_revoked=True),
}

"""One way in which a client takes more than is his."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ops.bench.api.http_load import Target, connected

LET_GO = "let go"  # noted where a connection was ended that might have stayed

JSON = "Content-Type: application/json"
JSON_LINES = "Content-Type: application/jsonl"

Note = Callable[[str], None]  # Of a status, when it comes.
Attacker = Callable[[Target, int, Note], Awaitable[None]]
Preparation = Callable[[Target, Note], Awaitable[None]]


async def nothing_before(_target: Target, _note: Note) -> None:
    """No preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """
    What is done again and again.

    Attributes:
        attacker: Does it once; gets its number, and notes the statuses of the answers.
        at_once: How many do it at a time.
        before: Done once, before anybody looks.
        redis_share: How much of its memory Redis has in use before; None where it has any amount.
        is_revoked: Whether the attacker's key is revoked in the middle.
    """

    attacker: Attacker
    at_once: int
    before: Preparation = nothing_before
    redis_share: float | None = None
    is_revoked: bool = False


async def post(target: Target, path: str, body: bytes, kind: str = JSON) -> tuple[str, bytes]:
    """The status of the answer, and its body."""
    async with connected(target) as connection:
        await connection.send(target.head("POST", path, kind, f"Content-Length: {len(body)}") + body)
        return await connection.answer()


async def ask(target: Target, method: str, path: str) -> tuple[str, bytes]:
    """The same of a request without a body."""
    async with connected(target) as connection:
        await connection.send(target.head(method, path))
        return await connection.answer()


def request(**fields: Any) -> bytes:
    """A job, as JSON."""
    return json.dumps({"prompt": "a red circle on a blue background", **fields}, ensure_ascii=False).encode()


def lines(count: int, **fields: Any) -> bytes:
    """So many jobs, as JSON lines."""
    return b"\n".join([request(**fields)] * count)


async def submit(target: Target, note: Note, **fields: Any) -> str | None:
    """A job's id, if it was taken."""
    status, body = await post(target, "/v1/jobs", request(**fields))
    note(status)
    return str(json.loads(body)["id"]) if status == "202" else None

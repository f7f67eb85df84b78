"""Requests that are too large, too long or too deep."""

from __future__ import annotations

import json
from contextlib import suppress

from ops.bench.api.attacks.attack import JSON, Attack, Note, post
from ops.bench.api.http_load import Target, connected

_MEGABYTE = 1 << 20
_BODY_MEGABYTES = 50
_PROMPT_CHARS = 1_000_000
_LEVELS = 10_000


async def large_body(target: Target, number: int, note: Note) -> None:
    """50 MB, with the length in the head and without, by turns."""
    is_chunked = number % 2
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {_BODY_MEGABYTES * _MEGABYTE}"
    megabyte = b" " * _MEGABYTE
    part = b"%x\r\n%s\r\n" % (_MEGABYTE, megabyte) if is_chunked else megabyte
    async with connected(target) as connection:
        await connection.send(target.head("POST", "/v1/jobs", JSON, length))
        with suppress(ConnectionError):  # It may have answered already.
            for _ in range(_BODY_MEGABYTES):
                await connection.send(part)
        note(await connection.status())


async def long_prompt(target: Target, _: int, note: Note) -> None:
    """A million characters."""
    note((await post(target, "/v1/jobs", json.dumps({"prompt": "x" * _PROMPT_CHARS}).encode()))[0])


async def deep_json(target: Target, number: int, note: Note) -> None:
    """10,000 levels, of arrays and of objects."""
    opening, closing = ((b"[", b"]"), (b'{"a":', b"}"))[number % 2]
    note((await post(target, "/v1/jobs", opening * _LEVELS + b"1" + closing * _LEVELS))[0])


BODIES = {
    "50 MB bodies": Attack(attacker=large_body, at_once=2),
    "million-character prompts": Attack(attacker=long_prompt, at_once=4),
    "10,000 levels of JSON": Attack(attacker=deep_json, at_once=4),
}

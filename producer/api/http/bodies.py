"""Bodies of requests: only of the right type, only as they are, only so large, only so slow, only so deep."""

from __future__ import annotations

import asyncio
import codecs
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from producer.api.http.errors import BodyMalformed, BodyOfOtherType, BodyTooLarge, BodyTooSlow

SLOWEST_BYTES_PER_S = 16_384
JSON_TYPE = "application/json"
_CHARSET = re.compile(r'(?:^|;)\s*charset="?([^\s;"]*)')
_TAKEN_CHARSETS = ("utf-8", "utf8", "us-ascii")


async def read_object(request: Request, *, max_bytes: int, timeout_s: float) -> dict[str, Any]:
    """
    Read a body that is one JSON object.

    Raises:
        BodyTooLarge, BodyTooSlow, BodyMalformed, BodyOfOtherType
        TooManyBytes: The bodies of the caller's requests are too large together.
    """
    # A web page can have a browser send any other type to this machine without asking first.
    check_type(request, JSON_TYPE)
    body = bytearray()
    with request.state.open_request.holding() as hold:
        async for chunk in stream(request, max_bytes=max_bytes, timeout_s=timeout_s):
            hold(len(chunk))
            body += chunk
        value = parse(bytes(body))
    if not isinstance(value, dict):
        raise BodyMalformed("the body must be a JSON object")
    return value


def type_of(request: Request) -> str:
    """The type that a request says its body has, without parameters."""
    return request.headers.get("content-type", "").lower().partition(";")[0].strip()


def check_type(request: Request, *types: str) -> None:
    """Raises `BodyOfOtherType` where the body is not of one of these types."""
    if type_of(request) not in types:
        raise BodyOfOtherType("Content-Type", f"must be {' or '.join(types)}")
    _, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = _CHARSET.search(parameters)
    if charset and charset[1] not in _TAKEN_CHARSETS:
        raise BodyOfOtherType("Content-Type", "its charset must be utf-8")


def check_encoding(request: Request) -> None:
    """Raises `BodyOfOtherType` where the body is packed: a kilobyte of gzip may be a gigabyte of prompts."""
    named = ",".join(request.headers.getlist("content-encoding")).split(",")
    if any(each.strip().lower() not in ("", "identity") for each in named):
        raise BodyOfOtherType(
            "Content-Encoding", "has to be identity: send the body as it is, without gzip and the like"
        )


async def stream(request: Request, *, max_bytes: int, timeout_s: float) -> AsyncIterator[bytes]:
    """
    A body's bytes as they come.

    Args:
        max_bytes: What it may have, whatever it says itself.
        timeout_s: What it may take; longer by a second for each `SLOWEST_BYTES_PER_S` that came.

    Raises:
        BodyTooLarge, BodyTooSlow
        BodyOfOtherType: It is packed.
    """
    check_encoding(request)
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said[:19]) > max_bytes:
        raise BodyTooLarge(max_bytes)
    started, size = time.monotonic(), 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(started + timeout_s + size / SLOWEST_BYTES_PER_S - time.monotonic()):
                chunk = await anext(chunks, None)
        except TimeoutError as exc:
            raise BodyTooSlow(f"the body of this request took more than {timeout_s:g} s; send it faster") from exc
        except ClientDisconnect as exc:
            raise BodyMalformed("the body of this request ended early") from exc
        if chunk is None:
            return
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        yield chunk


def parse(body: bytes) -> Any:
    """
    Parse JSON, strictly: UTF-8, no NaN, nested at most 1,024 deep, which is where the parser stops.

    A byte order mark in front is passed over (RFC 8259, 8.1): programs on Windows write one.

    Raises:
        BodyMalformed
    """
    try:
        return orjson.loads(body.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as exc:
        # Its message and place, which have nothing of the content.
        raise BodyMalformed(f"the body is not valid JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})") from exc

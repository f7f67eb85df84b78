"""Reads streams of server-sent events, as a browser does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

_SILENCE_S = 60.0  # that a busy machine may keep between two lines


@dataclass(frozen=True, slots=True)
class Told:
    id: str
    event: str
    data: dict[str, Any]


@contextmanager
def listening(
    url: str, last_event_id: str | None = None, headers: dict[str, str] | None = None
) -> Iterator[Iterator[Told]]:
    """Open a stream; gives its events as they come."""
    sent = {**(headers or {}), **({"Last-Event-ID": last_event_id} if last_event_id else {})}
    with httpx.stream("GET", url, headers=sent, timeout=_SILENCE_S, trust_env=False) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Told(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}

"""JSON lines for schemathesis, which does not know them: bodies as they are, answers as the list of their lines."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from schemathesis import Response, SerializationContext

JSONL = "application/jsonl"


@schemathesis.serializer(JSONL)
def as_it_is(ctx: SerializationContext, value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()


@schemathesis.deserializer(JSONL)
def by_line(ctx: Any, response: Response) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines() if line]

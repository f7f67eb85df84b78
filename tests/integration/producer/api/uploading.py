"""What tests of uploads do again and again: forms as clients send them, whole or by the byte."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx2 as httpx

from tests.integration.producer.api.conftest import DEADLINE_S

MIB = 1 << 20
MAX_BYTES = 24 * MIB  # Of a file, in these tests.

HEAD = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n'
FORM = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n--b\r\n' + HEAD + b"\r\n"


def send(
    api: httpx.Client,
    content: bytes,
    headers: dict[str, str] | None = None,
    *,
    filename: str = "photo.png",
    **fields: str,
) -> httpx.Response:
    form = {"purpose": "vision", **fields}
    return api.post("/v1/files", data=form, files={"file": (filename, content)}, headers=headers)


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


def connected(replica: str) -> socket.socket:
    url = urlsplit(replica)
    return socket.create_connection((url.hostname, url.port), timeout=DEADLINE_S)


def head_of(size: int) -> bytes:
    return (
        f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()

"""Images of others are named by their digests, which are asked of their registries."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from ops.settings import CHECKOUT
from ops.supply.images import FILES, DigestUnknown, digest_of, named_in, pin_all

INDEX = b'{"schemaVersion": 2, "manifests": []}'
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
# `make digests` has to run where registries of images are reached; where this was written, none was.
NOT_PINNED_YET = {"python:3.11-slim-bookworm", "debian:bookworm-slim", "redis:7", "prom/prometheus:v3.5.0"}


def test_every_image_of_others_is_pinned_or_known_not_to_be() -> None:
    assert {each.name for each in named_in(CHECKOUT) if each.digest is None} <= NOT_PINNED_YET


def test_no_image_of_others_is_named_in_another_way() -> None:
    found = {each.name for each in named_in(CHECKOUT)}
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text("utf-8"))["services"]
    theirs = [each["image"] for each in services.values() if not each["image"].startswith("imagemill-")]
    assert all(any(name in image for name in found) for image in theirs)
    for file in FILES[1:]:
        lines = (CHECKOUT / file).read_text("utf-8").splitlines()
        bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
        stages = {line.split()[3] for line in lines if line.startswith("FROM ") and " AS " in line}
        assert bases
        assert [base for base in bases if base not in stages and not base.endswith("_IMAGE}")] == []


class _Registry(BaseHTTPRequestHandler):
    """One repository, which wants the token that anybody gets."""

    def do_GET(self) -> None:
        host = self.headers["Host"]
        if self.path == "/token?service=here&scope=repository%3Amirror%2Fredis%3Apull":
            return self._send(200, b'{"token": "anybody"}')
        if self.headers.get("Authorization") != "Bearer anybody":
            asks = f'Bearer realm="http://{host}/token",service="here",scope="repository:mirror/redis:pull"'
            return self._send(401, b"", {"WWW-Authenticate": asks})
        if self.path != "/v2/mirror/redis/manifests/7" or "image.index.v1" not in self.headers["Accept"]:
            return self._send(404, b"")
        return self._send(200, INDEX)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_digest_is_that_of_the_manifest_of_all_platforms() -> None:
    with registry() as host:
        assert digest_of(f"{host}/mirror/redis:7") == DIGEST


def checkout_with(folder: Path, image: str) -> Path:
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        text = (CHECKOUT / file).read_text("utf-8")
        for each in named_in(CHECKOUT):
            text = text.replace(each.name + (f"@{each.digest}" if each.digest else ""), image)
        (folder / file).write_text(text, "utf-8")
    return folder


def test_pinning_writes_digests_and_nothing_else_and_again(tmp_path: Path) -> None:
    with registry() as host:
        image = f"{host}/mirror/redis:7"
        folder = checkout_with(tmp_path, image)
        before = {file: (folder / file).read_text("utf-8") for file in FILES}
        for _ in range(2):
            assert pin_all(folder) == {image: DIGEST}
            assert {file: (folder / file).read_text("utf-8").replace(f"@{DIGEST}", "") for file in FILES} == before
    assert [each for each in named_in(folder) if each.digest != DIGEST] == []


def test_tag_that_a_registry_has_not_changes_nothing(tmp_path: Path) -> None:
    with registry() as host:
        folder = checkout_with(tmp_path, f"{host}/mirror/redis:8")
        shutil.copytree(folder, tmp_path / "before")
        with pytest.raises(DigestUnknown, match=r"mirror/redis:8: .* 404"):
            pin_all(folder)
    for file in FILES:
        assert (folder / file).read_bytes() == (tmp_path / "before" / file).read_bytes()

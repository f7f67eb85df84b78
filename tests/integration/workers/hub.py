"""A model hub over a folder: the few answers of Hugging Face's that a download needs, for one repository."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import close_session

REPOSITORY = "somebody/pictures"
COMMIT = "4f9a" * 10
TAG = "v1"


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    repository: str

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        for revision in (COMMIT, TAG, "main"):
            if path in (f"/api/models/{self.repository}", f"/api/models/{self.repository}/revision/{revision}"):
                files = [{"rfilename": each["path"]} for each in self._tree()]
                return self._json({"id": self.repository, "modelId": self.repository, "sha": COMMIT, "siblings": files})
            if path.rstrip("/") == f"/api/models/{self.repository}/tree/{revision}":
                return self._json(self._tree())
            resolve = f"/{self.repository}/resolve/{revision}/"
            if path.startswith(resolve) and (self.folder / path.removeprefix(resolve)).is_file():
                return self._send((self.folder / path.removeprefix(resolve)).read_bytes(), "application/octet-stream")
        return self._json({"error": "not found"}, 404)

    def _tree(self) -> list[dict[str, Any]]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": str(path.relative_to(self.folder)),
                "size": path.stat().st_size,
                "oid": _etag(path),
            }
            for path in files
        ]

    def _json(self, content: Any, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", status)

    def _send(self, body: bytes, content_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
        if status == 404:
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def hub(folder: Path, repository: str = REPOSITORY) -> Iterator[str]:
    """A hub whose only repository has the files of a folder; gives its address."""
    handler = type("_HubOfFolder", (_Hub,), {"folder": folder, "repository": repository})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def at_hub(folder: Path, repository: str, cache: Path) -> Iterator[str]:
    """This process asks such a hub, and keeps what it fetches in a folder of its own."""
    with hub(folder, repository) as endpoint, pytest.MonkeyPatch.context() as patched:
        patched.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        patched.setattr("huggingface_hub.hf_api.api.endpoint", endpoint)
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patched.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        patched.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        patched.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        for name in ("NO_PROXY", "no_proxy"):
            patched.setenv(name, "127.0.0.1")
        try:
            yield endpoint
        finally:
            close_session()  # Else a thread of the hub waits for what is asked next.


def nowhere() -> str:
    """An address that nobody answers at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

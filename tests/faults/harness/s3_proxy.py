"""An HTTP proxy in front of the S3 store, which answers in its place, or takes its time."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ops.process import LOOPBACK

_DROPPED = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class S3Proxy:
    """
    Forwards to `upstream`, a loopback port.

    Attributes:
        answer_put: The HTTP status that every PUT gets, the store unasked; 0 to forward.
        code: What the store calls that in its own words.
        only: Of PUTs, those whose path holds this are answered here.
        slow_s: How long every PUT waits before it is forwarded.
        let_through: While it is not set, every PUT waits here, and is forwarded then, whether or not whoever sent it is
            still there.
        struck: How many PUTs were answered or delayed here.
        landed: How many of those that waited are in the store.
    """

    def __init__(self, upstream: int = 0) -> None:
        self.upstream = upstream
        self.answer_put = 0
        self.code = "InternalError"
        self.only = ""
        self.slow_s = 0.0
        self.let_through = threading.Event()
        self.let_through.set()
        self.struck = 0
        self.landed = 0
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self._server.server_address[1])

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead a worker through here."""
        return {"IMAGEMILL_S3_ENDPOINT_URL": f"http://{LOOPBACK}:{self.port}"}

    def close(self) -> None:
        self.closing.set()
        self.let_through.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: S3Proxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT" and (self.proxy.answer_put or self.proxy.slow_s):
            self.proxy.struck += 1
            self.proxy.closing.wait(self.proxy.slow_s)
        if self.command == "PUT" and self.proxy.answer_put and self.proxy.only in self.path:
            self._answer(self.proxy.answer_put, {}, f"<Error><Code>{self.proxy.code}</Code></Error>".encode())
            return
        has_waited = self.command == "PUT" and not self.proxy.let_through.is_set()
        if has_waited:
            self.proxy.struck += 1
            self.proxy.let_through.wait()
        upstream = http.client.HTTPConnection(LOOPBACK, self.proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            reply = upstream.getresponse()
            self.proxy.landed += has_waited
            self._answer(reply.status, dict(reply.getheaders()), reply.read())
        except OSError:
            self.close_connection = True
        finally:
            upstream.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815 - the names of http.server

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""

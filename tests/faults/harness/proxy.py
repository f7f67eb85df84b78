"""A TCP proxy in front of Redis: it loses replies, stands still, and can be led to another server."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ops.process import LOOPBACK, free_port

_CHUNK = 1 << 16
_REPLY_S = 5.0


class TcpProxy:
    """
    Forwards connections to `upstream`, a loopback port.

    Attributes:
        lose_every: Of so many commands that run a script, the reply to one is lost and its connection cut; 0 for none.
        lost: How many replies were lost.
        frozen: While set, nothing is forwarded; connections stay open.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.upstream = 0
        self.lose_every = 0
        self.lost = 0
        self.frozen = threading.Event()
        self._scripts = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead a system through here."""
        return {"IMAGEMILL_REDIS_URL": self.url, "IMAGEMILL_RESULT_BACKEND_URL": self.url}

    def switch(self, upstream: int) -> None:
        """Cut every connection; new ones go to another server."""
        self.upstream = upstream
        self.frozen.clear()
        with self._lock:
            connections, self._open = self._open, set()
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closing.set()
        self.switch(self.upstream)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection((LOOPBACK, self.upstream)) as server, self._noted(client, server):
                self._forward(client, server)
        except OSError:
            return  # Either side has gone; both are closed now.

    @contextmanager
    def _noted(self, *sockets: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.update(sockets)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(sockets)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for ready in select.select([client, server], [], [])[0]:
                while self.frozen.is_set():
                    if self._closing.wait(0.01) or client not in self._open:
                        return
                content = ready.recv(_CHUNK)
                if not content:
                    return
                (server if ready is client else client).sendall(content)
                if ready is client and b"EVALSHA" in content.upper() and self._is_to_be_lost():
                    server.settimeout(_REPLY_S)
                    if server.recv(_CHUNK):  # It was done; nobody hears of it.
                        self.lost += 1
                    return

    def _is_to_be_lost(self) -> bool:
        with self._lock:
            self._scripts += 1
            return self.lose_every > 0 and self._scripts % self.lose_every == 0

"""A store that goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ops.process import free_port
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.store import StoredObject, Upload


class Store(S3Store):
    """The store, which can go away: then it is one at an address where nobody listens."""

    def __init__(self, there: S3Store) -> None:
        super().__init__(there.settings)
        self._there = there
        self._away = S3Store(S3Settings(endpoint_url=f"http://127.0.0.1:{free_port()}", bucket="none"))
        self.is_away = False
        self.on_put: Callable[[bytes], None] = lambda _body: None

    def put(self, key: str, body: bytes, content_type: str) -> None:
        self.on_put(body)
        (self._away if self.is_away else self._there).put(key, body, content_type)

    def upload(self, key: str, content_type: str) -> Upload:
        return (self._away if self.is_away else self._there).upload(key, content_type)

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        return (self._away if self.is_away else self._there).objects(prefix, after)

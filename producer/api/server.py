"""`./imagemill api`: the API on uvicorn, in the foreground."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from functools import partial

import structlog
import uvicorn
from fastapi import FastAPI

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.fleet.fleet import Fleet
from jobs.process.exposition import serve_metrics
from jobs.process.logs import configure_logging
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.figures import FigureReader
from jobs.table.older import wait_for_older_to_go
from producer.api.app import create_app
from producer.api.context import Context
from producer.api.freed_memory import share_arenas
from producer.api.keys.exposure import admit, needs_key
from producer.api.metrics.figures import SystemFigures
from producer.api.metrics.metrics import ApiMetrics
from producer.api.settings import ANY_PAGE, ApiSettings
from producer.api.wire.protocol import BoundedProtocol
from producer.api.wire.readers import KERNEL_BYTES, Readers
from producer.keys.store import KeyStore
from storage.settings import StorageSettings

log = structlog.get_logger()

_BACKLOG = 2048
# The event loop gives the interpreter up for each of its reads, and waits so long to have it back from a thread that
# computes, as those of batches do. Python's default is ten times as long.
_SWITCH_INTERVAL_S = 0.0005
# Connections in one step of the event loop. libuv (1.52) accepts one by each of its handles, and then works on what was
# accepted: whoever comes behind two hundred others would be seen two hundred steps later.
_ACCEPTED_AT_ONCE = 8
_GRACE_S = 20  # For requests that are running while it stops; waiting requests end at once.


def serve(settings: Settings, storage: StorageSettings, api_settings: ApiSettings) -> None:
    """
    Serve until SIGTERM or Ctrl-C; what runs then is answered first.

    Raises:
        InvalidConfiguration: It cannot listen there, or may not, because there is no API key.
        RedisUnavailable: Redis was asked and did not answer.
        OlderVersionRuns: This version must not run beside it.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    share_arenas()
    configure_logging(logging.getLevelNamesMapping()[api_settings.log_level.upper()], settings.log_format)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # What is wrong with a form is in its answer.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # How it starts and stops, step by step.
    with connect(settings) as client:
        wait_for_older_to_go(client, settings)
        exposure = admit(
            api_settings.host,
            KeyStore(client, settings),
            require_key=needs_key(api_settings),
            is_for_all_pages=ANY_PAGE in api_settings.cors_origins,
        )
    app = create_app(settings, storage, api_settings)
    with _listen(api_settings) as listener:
        port = listener.getsockname()[1]
        log.info("listening", address=f"http://{_shown(api_settings.host)}:{port}", docs="/docs")
        log.info(exposure)
        _show_metrics(app.state.metrics, settings)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn stops in order, and then raises it again
        Server(app).run(sockets=[listener])


def _show_metrics(metrics: ApiMetrics, settings: Settings) -> None:
    client = connect(settings)
    models = Catalogue.read(settings.models_file).models
    metrics.show_system(SystemFigures(FigureReader(client, settings), Fleet(client, settings), models))
    serve_metrics(metrics.registry, settings)


class Server(uvicorn.Server):
    """uvicorn, with our bounds; when it stops it lets those go who wait or listen, before it waits for the others."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(BoundedProtocol, Readers()),  # type: ignore[arg-type]  # It makes one, as a class does.
                ws="none",
                lifespan="on",
                log_config=None,  # Its lines have query strings; `producer.api.http.request_log` writes ours.
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does; each connection is checked for whether its client reads."""
        for each in sockets or ():
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BYTES)
        await super().startup([each.dup() for each in sockets or () for _ in range(_ACCEPTED_AT_ONCE)])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, which would wait for every stream to end by itself."""
        context: Context = self._app.state.context
        context.loop.waiters.close()
        await super().shutdown(sockets)


def _listen(settings: ApiSettings) -> socket.socket:
    try:
        info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(info[0], info[1])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(info[4])
        listener.listen(_BACKLOG)
    except OSError as exc:
        reason = f"cannot listen on {_shown(settings.host)}:{settings.port} ({exc.strerror})"
        raise InvalidConfiguration(f"{reason}; set IMAGEMILL_API_HOST and IMAGEMILL_API_PORT") from exc
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

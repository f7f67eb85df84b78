"""Serves a process' metrics to Prometheus, on a port of their own that no client of the API reaches."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from jobs.process.settings import Settings

log = structlog.get_logger()

disable_created_metrics()  # type: ignore[no-untyped-call]  # A gauge more for each series, which nobody looks at.


def serve_metrics(registry: CollectorRegistry, settings: Settings) -> WSGIServer | None:
    """
    Serve in a thread, until the process ends or the server that is returned is shut down; nothing, where the settings
    say `off`.

    A port that is taken is said, and no reason not to work: on one machine the second worker finds it so.
    """
    if settings.metrics_port is None:
        return None
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as exc:
        log.warning(
            "metrics are not served; set IMAGEMILL_METRICS_HOST and IMAGEMILL_METRICS_PORT to an address that is free",
            address=f"{host}:{port}",
            reason=exc.strerror or str(exc),
        )
        return None
    log.info("metrics are served", address=f"http://{host}:{server.server_port}/metrics")
    return server

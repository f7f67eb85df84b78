"""
What Prometheus reads of an API process: its own requests, and the figures of the whole system.

The latter are the job table's, so every replica shows the same: take `max by (…)`, not `sum`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from starlette.types import Scope

from producer.api.metrics.figures import SystemFigures

_BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OTHER = "other"


class ApiMetrics:
    """
    Counts requests by the template of their route, for there is no end of paths.

    Attributes:
        registry: What a scrape of this process shows.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "imagemill_api_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "imagemill_api_request_seconds",
            "Seconds until the answer began; where a client asked to wait for a job, that wait is in it.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.active = Gauge(
            "imagemill_api_requests_active",
            "Requests that are being answered, event streams included.",
            registry=registry,
        )

    def show_system(self, figures: SystemFigures) -> None:
        """Let scrapes show the whole system, too."""
        self.registry.register(figures)

    def note(self, scope: Scope, status: int, began_after_s: float) -> None:
        """
        A request was answered.

        Args:
            scope: Of the request, after it was routed.
            status: 0 where the client left before there was an answer.
            began_after_s: How long it took until the answer began.
        """
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        route = getattr(scope.get("route"), "path", _OTHER)
        self._requests.labels(method, route, status or "none").inc()
        self._seconds.labels(method, route).observe(began_after_s)

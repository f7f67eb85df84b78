"""Redis' address in Celery's terms: URLs, and options that they cannot express."""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.process.address import has_tls, sentinels_of
from jobs.process.settings import Settings
from jobs.redis.connection import sentinel_options, tls_options


def celery_url(url: str) -> str:
    """A Redis URL in kombu's form: each Sentinel has one of its own, with all that is needed to use it alone."""
    found = sentinels_of(url)
    if found is None:
        return url
    netloc = url.partition("://")[2].partition(";")[0].partition(",")[0]
    login, at, _ = netloc.rpartition("@")
    hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in found.hosts]
    return ";".join(f"sentinel://{login}{at}{each}/{found.database}" for each in hosts)


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Celery's settings for a broker, and a result backend, behind TLS or Sentinels; none where there are neither."""
    options: dict[str, Any] = {}
    if has_tls(settings.redis_url):
        options["broker_use_ssl"] = tls_options(settings)
    backend = settings.result_backend or ""
    if has_tls(backend):
        options["redis_backend_use_ssl"] = tls_options(settings.model_copy(update={"redis_url": backend}))
    if sentinels_of(backend):
        options["result_backend_transport_options"] = sentinel_transport(backend, settings)
    return options


def sentinel_transport(url: str, settings: Settings) -> dict[str, Any]:
    """Kombu's transport options for a URL; none where it names no Sentinels."""
    if sentinels_of(url) is None:
        return {}
    options = sentinel_options(settings.model_copy(update={"redis_url": url}))
    # redis-py would try a Sentinel that is away for seconds before it asks the next one.
    return {
        "master_name": settings.redis_sentinel_master,
        "sentinel_kwargs": {**options, "retry": Retry(NoBackoff(), 0)},
    }

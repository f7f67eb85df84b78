"""What stands in a worker at the moment of a scrape. Nothing is kept up to date between scrapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workers.attempt.spool import Spool
from workers.families.parts.embeddings import EmbeddingCache
from workers.process.reports.heartbeat import Heartbeat

_MODEL = ["model"]


class WorkerGauges(Collector):
    """
    Looks at the parts of one worker.

    Args:
        adapters: The models that are loaded at the moment, by name; those that keep embeddings have a `cache`.
        served: Names of all that may be.
        held: How many jobs it has in hand.
    """

    def __init__(
        self,
        *,
        heartbeat: Heartbeat,
        slots: int,
        held: Callable[[], int],
        spool: Spool,
        adapters: Mapping[str, Any],
        served: Collection[str],
        device: torch.device,
    ) -> None:
        self._heartbeat = heartbeat
        self._slots = slots
        self._held = held
        self._spool = spool
        self._adapters = adapters
        self._device = device
        self._served = served

    def describe(self) -> list[Metric]:
        """Nothing, so that being registered is no scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families of one scrape."""
        yield _gauge("imagemill_worker_slots", "Jobs that this worker takes at a time.", self._slots)
        yield _gauge("imagemill_worker_jobs", "Jobs that this worker has in hand.", self._held())
        yield _gauge(
            "imagemill_worker_heartbeat_timestamp_seconds",
            "Unix time of this worker's last report to the job table.",
            self._heartbeat.reported_at,
        )
        load = self._spool.load
        yield _gauge(
            "imagemill_spool_jobs", "Finished jobs whose images wait here until the store takes them.", load.jobs
        )
        yield _gauge("imagemill_spool_used_bytes", "Size of those images.", load.used_bytes)
        yield _gauge("imagemill_spool_limit_bytes", "How much may wait.", load.max_bytes)
        loaded = GaugeMetricFamily("imagemill_model_loaded", "1 where a model lies on the device.", labels=_MODEL)
        for model in sorted(self._served):
            loaded.add_metric([model], float(model in self._adapters))
        yield loaded
        yield from self._of_caches()
        yield from _of_gpu(self._device)

    def _of_caches(self) -> Iterable[Metric]:
        hits = CounterMetricFamily(
            "imagemill_embedding_cache_hits", "Prompts whose embeddings were there already.", labels=_MODEL
        )
        misses = CounterMetricFamily("imagemill_embedding_cache_misses", "Prompts that were encoded.", labels=_MODEL)
        size = GaugeMetricFamily("imagemill_embedding_cache_size_bytes", "Embeddings that are kept.", labels=_MODEL)
        for model, adapter in [*self._adapters.items()]:
            if not isinstance(cache := getattr(adapter, "cache", None), EmbeddingCache):
                continue
            hits.add_metric([model], cache.counts.hits)
            misses.add_metric([model], cache.counts.misses)
            size.add_metric([model], cache.size_bytes)
        return (hits, misses, size)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _of_gpu(device: torch.device) -> Iterable[Metric]:
    """Without a GPU these are named, and have no value."""
    used = GaugeMetricFamily("imagemill_gpu_memory_used_bytes", "In use, by whatever program.", labels=["gpu"])
    size = GaugeMetricFamily("imagemill_gpu_memory_size_bytes", "All that there is.", labels=["gpu"])
    reserved = GaugeMetricFamily("imagemill_gpu_memory_reserved_bytes", "Held by this worker's torch.", labels=["gpu"])
    if device.type == "cuda":
        free_bytes, size_bytes = torch.cuda.mem_get_info(device)
        gpu = [torch.cuda.get_device_name(device)]
        used.add_metric(gpu, size_bytes - free_bytes)
        size.add_metric(gpu, size_bytes)
        reserved.add_metric(gpu, torch.cuda.memory_reserved(device))
    return (used, size, reserved)

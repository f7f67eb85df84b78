"""Jobs, and all that belongs to them, as the API shows them; `producer.api.jobs.schemas` describes the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import Request

from jobs.kinds.spec import JobSpec
from jobs.table.rates import Place
from jobs.table.record import ImageRecord, JobRecord
from producer.api.links import Links

_NOT_PARAMETERS = {"caller", "metadata", "idempotency_key"}


class Views:
    """Shows jobs to whoever asks."""

    def __init__(self, links: Links, public_url: str, image_links: Literal["store", "api"] = "store") -> None:
        self._links = links
        self._from_store = image_links == "store"
        self._public_url = public_url.rstrip("/")

    def job(self, record: JobRecord, request: Request, place: Place | None = None) -> dict[str, Any]:
        """A job, with fresh links; and where it stands, if it waits and somebody looked."""
        spec = record.spec
        return {
            "id": record.id,
            "object": "job",
            "status": record.status,
            "stage": record.stage,
            "progress": record.progress,
            "step": record.step,
            "steps": record.steps,
            **place_in_line(place),
            "model": spec.model if spec else None,
            "parameters": parameters_of(spec, record.unread) if spec else None,
            "metadata": spec.metadata if spec else {},
            "caller": record.caller,
            "attempts": record.attempts,
            "created_at": record.created_at,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "timings": record.timings,
            "error": {"code": record.error.code, "message": record.error.message} if record.error else None,
            "images": [self.image(record.id, index, each, request) for index, each in enumerate(record.images)],
            **self.urls(record.id, request),
        }

    def image(self, job_id: str, index: int, image: ImageRecord, request: Request) -> dict[str, Any]:
        """An image, with a fresh link."""
        if self._from_store:
            url = self._links.link(image.key, image.content_type)
            thumbnail = self._links.link(image.thumbnail_key, "image/webp") if image.thumbnail_key else None
        else:
            url = f"{self.base_url(request)}/v1/jobs/{job_id}/images/{index}"
            thumbnail = f"{url}/thumbnail" if image.thumbnail_key else None
        return {
            "url": url,
            "thumbnail_url": thumbnail,
            "content_type": image.content_type,
            "width": image.width,
            "height": image.height,
            "bytes": image.bytes,
            "sha256": image.sha256,
            "seed": image.seed,
        }

    def urls(self, job_id: str, request: Request) -> dict[str, str]:
        """Where to ask for a job, hear of it and end it."""
        job_url = f"{self.base_url(request)}/v1/jobs/{job_id}"
        return {"status_url": job_url, "events_url": f"{job_url}/events", "cancel_url": job_url}

    def base_url(self, request: Request) -> str:
        """What the links of an answer begin with: the setting, or what this client asked."""
        return self._public_url or str(request.base_url).rstrip("/")


def parameters_of(spec: JobSpec, unread: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every parameter of a job, settled; those whose values only a newer version understands, as they are."""
    shown = {name: value for name, value in (unread or {}).items() if name not in _NOT_PARAMETERS}
    return spec.model_dump(mode="json", exclude=_NOT_PARAMETERS, exclude_none=True) | shown


def place_in_line(place: Place | None) -> dict[str, int | float | None]:
    """Where a job stands, or would stand."""
    if place is None:
        return {"queue_position": None, "starts_in_s": None}
    return {"queue_position": place.position, "starts_in_s": place.starts_in_s}

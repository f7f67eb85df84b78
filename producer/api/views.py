"""Jobs, and all that belongs to them, as the API shows them; `producer.api.jobs.schemas` describes the same."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request

from jobs.table.rates import Place
from jobs.table.record import Artifact
from jobs.view import Image, JobView
from producer.api.keys.callers import key_behind
from producer.api.keys.permits import permitted
from producer.api.links import Links


class Views:
    """Shows jobs to clients."""

    def __init__(self, links: Links, public_url: str, image_links: Literal["store", "api"] = "store") -> None:
        self._links = links
        self._from_store = image_links == "store"
        self._public_url = public_url

    def job(self, view: JobView, request: Request, place: Place | None = None) -> dict[str, Any]:
        """A job, with fresh links; and where it stands, if it waits and somebody looked."""
        return {
            **view.model_dump(mode="json", exclude={"images", "artifacts"}),
            **place_in_line(place),
            "images": [self.image(view.id, index, each, request) for index, each in enumerate(view.images)],
            "artifacts": [self._artifact(view.id, index, each, request) for index, each in enumerate(view.artifacts)],
            **self.urls(view.id, request),
        }

    def image(self, job_id: str, index: int, image: Image, request: Request) -> dict[str, Any]:
        """An image, with a fresh link."""
        path = f"/v1/jobs/{job_id}/images/{index}"
        url = self._url(image.key, image.content_type, path, request)
        small = image.thumbnail_key
        thumbnail = self._url(small, "image/webp", f"{path}/thumbnail", request) if small else None
        # Not by its keys, which are the store's: where links lead here, nobody else needs to know of it.
        return {**image.model_dump(exclude={"key", "thumbnail_key"}), "url": url, "thumbnail_url": thumbnail}

    def _artifact(self, job_id: str, index: int, artifact: Artifact, request: Request) -> dict[str, Any]:
        path = f"/v1/jobs/{job_id}/artifacts/{index}"
        url = self._url(artifact.key, artifact.content_type, path, request)
        return {**artifact.model_dump(mode="json"), "url": url}

    def _url(self, stored: str, content_type: str, path: str, request: Request) -> str:
        """A link to a stored object: the store's, or that of a path of ours, which is as good without a key."""
        if self._from_store:
            return self._links.link(stored, content_type)
        key = key_behind(request)
        return self.base_url(request) + (permitted(path, key, self._links.expiry_s) if key else path)

    def urls(self, job_id: str, request: Request) -> dict[str, str]:
        """The URLs to read, follow and cancel a job."""
        job_url = f"{self.base_url(request)}/v1/jobs/{job_id}"
        return {"status_url": job_url, "events_url": f"{job_url}/events", "cancel_url": job_url}

    def base_url(self, request: Request) -> str:
        """What the links of an answer begin with: the setting, or what this client asked."""
        return self._public_url or str(request.base_url).rstrip("/")


def place_in_line(place: Place | None) -> dict[str, int | float | None]:
    """Where a job stands, or would stand."""
    if place is None:
        return {"queue_position": None, "starts_in_s": None}
    return {"queue_position": place.position, "starts_in_s": place.starts_in_s}

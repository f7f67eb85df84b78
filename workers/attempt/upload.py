"""Upload: files become objects, with `job.json` beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import structlog
import tenacity
from pydantic_core import to_json

from jobs.catalogue.entry import Model
from jobs.table.claim import Claim
from jobs.table.record import Artifact
from jobs.version import VERSION
from storage.errors import ObjectRefused, StorageMisconfigured, StorageUnavailable
from storage.keys import AttemptFolder
from storage.store import Store
from workers.runners.files import MadeFile

log = structlog.get_logger()

_RETRY_FOR_S = 3
_CHECKS = (1, 2)  # Of a store that refuses every second time, one of three at least says so.


def upload(
    store: Store,
    claim: Claim,
    model: Model | None,
    files: Iterable[MadeFile],
    timings: Mapping[str, float],
    data: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> list[Artifact]:
    """
    Store the images of an attempt under its own folder, retrying with backoff while the store is away.

    Args:
        files: Taken one by one: each is stored before the next is made.
        timings: As they are when the last image is stored.
        data: What was made beside them.
        warnings: What the job's record says though it went well.

    Raises:
        StorageUnavailable: Still away after a few seconds.
        StorageMisconfigured: The store refuses everything.
        ObjectRefused: It refuses one of these images, and takes others.
    """
    folder = AttemptFolder(
        prefix=store.settings.prefix,
        job_id=claim.job_id,
        created_at=claim.record.created_at,
        epoch=claim.epoch,
        token=claim.token,
    )
    images: list[Artifact] = []
    for file in files:
        images.append(_upload_image(store, folder, len(images), file))
        del file  # Or it would be there while the next is made.
    made = {name: value for name, value in (("data", data), ("warnings", warnings)) if value}
    manifest = to_json(_manifest(claim, model, images, timings) | made, indent=2)
    _put(store, folder.manifest(), manifest, "application/json")
    return images


def _upload_image(store: Store, folder: AttemptFolder, index: int, file: MadeFile) -> Artifact:
    key = folder.image(index, file.extension)
    _put(store, key, file.body, file.content_type)
    thumbnail_key = None
    if file.thumbnail is not None:
        thumbnail_key = folder.thumbnail(index)
        _put(store, thumbnail_key, file.thumbnail, "image/webp")
    return Artifact(
        key=key,
        content_type=file.content_type,
        bytes=len(file.body),
        sha256=file.sha256,
        thumbnail_key=thumbnail_key,
        name=file.name,
        **file.meta,
    )


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(StorageUnavailable),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
    stop=tenacity.stop_after_delay(_RETRY_FOR_S),
    before_sleep=lambda state: log.warning("upload failed, trying again", attempt=state.attempt_number),
    reraise=True,
)
def _put(store: Store, key: str, body: bytes, content_type: str) -> None:
    try:
        store.put(key, body, content_type)
    except StorageMisconfigured as exc:
        _put_again(store, key, body, content_type, exc)


def _put_again(store: Store, key: str, body: bytes, content_type: str, exc: StorageMisconfigured) -> None:
    """
    Find out whether the store refuses everything, or this object alone: one job must not stop a fleet.

    Raises:
        StorageMisconfigured: It refuses another object of this size, too.
        ObjectRefused: It takes that, and refuses this one again and again.
    """
    for checks in _CHECKS:
        for _ in range(checks):
            store.check_write(len(body))
        try:
            return store.put(key, body, content_type)  # It may have been mended meanwhile.
        except StorageMisconfigured:
            continue
    raise ObjectRefused(str(exc)) from exc


def _manifest(
    claim: Claim, model: Model | None, images: list[Artifact], timings: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "id": claim.job_id,
        "kind": claim.record.kind,
        "spec": claim.spec.model_dump(mode="json"),
        "model": {"name": model.name, "revision": model.revision, "dtype": model.dtype} if model else None,
        "images": [image.model_dump(mode="json", exclude_defaults=True) for image in images],
        "timings": dict(timings),
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    return {"imagemill": VERSION} | {name: version(name) for name in ("torch", "diffusers", "transformers", "pillow")}

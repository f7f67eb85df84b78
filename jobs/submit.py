"""From a request to what the job table writes: the same for every way to submit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.kind import Request, Spec
from jobs.kinds.registry import cost_of, kind_of
from jobs.table.submission import Submission


def submission_of(
    request: Request,
    spec: Spec,
    catalogue: Catalogue,
    *,
    job_id: str,
    origin: str = "client",
    quota: int | None = None,
    max_kept_mib: int | None = None,
    weight: float = 1.0,
    notifications: Mapping[str, Any] = MappingProxyType({}),
    tag: str | None = None,
) -> Submission:
    """What is written of a request that settled to `spec`. Other arguments as `Submission` has them."""
    kind = kind_of(request.kind)
    return Submission(
        job_id=job_id,
        kind=kind.name,
        model=getattr(spec, "model", None),
        spec=spec,
        digest=request.digest(),
        queue=kind.queue(spec),
        origin=origin,
        quota=quota,
        max_kept_mib=max_kept_mib,
        cost=cost_of(spec, catalogue),
        weight=weight,
        notifications=notifications,
        tag=tag,
        files=kind.files(spec),
    )

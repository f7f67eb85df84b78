"""The kinds of jobs that can be asked for. A further one is a file beside these, and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidRequest
from jobs.fields import parse
from jobs.kinds.edit import EDIT
from jobs.kinds.generate import GENERATE
from jobs.kinds.kind import Kind, Request, Spec
from jobs.names import queue_of, queue_of_kind

DEFAULT = GENERATE.name  # Of a request that does not say; and of what the first version wrote.

KINDS: dict[str, Kind[Any, Any]] = {kind.name: kind for kind in (GENERATE, EDIT)}


def kind_of(name: str) -> Kind[Any, Any]:
    """
    A kind by its name.

    Raises:
        InvalidRequest: There is none of that name.
    """
    if name not in KINDS:
        raise InvalidRequest("kind", f"there is no kind {name!r}; the kinds are {', '.join(KINDS)}")
    return KINDS[name]


def queues_for(models: Iterable[str]) -> list[str]:
    """The queues of a worker with these models: theirs, and those of kinds that need none."""
    return [*map(queue_of, models), *map(queue_of_kind, kinds_without_model())]


def cost_of(spec: Spec, catalogue: Catalogue) -> float:
    """What a job takes of the device, where the usual one of its model takes 1."""
    kind = kind_of(spec.kind)
    cost: float = kind.cost(spec, catalogue.find(getattr(spec, "model", None)) if kind.needs_model else None)
    return cost


def kinds_without_model() -> list[str]:
    """The kinds that need none: every worker runs them."""
    return [kind.name for kind in KINDS.values() if not kind.needs_model]


def parse_request(fields: Mapping[str, Any]) -> Request:
    """
    Validate a job as a caller writes it; `kind` is "generate" where it does not say.

    Raises:
        InvalidRequest: Names the first field that is wrong, and says why.
    """
    name = fields.get("kind", DEFAULT)
    if not isinstance(name, str):
        raise InvalidRequest("kind", "should be a valid string")
    request: Request = parse(kind_of(name).request, {key: value for key, value in fields.items() if key != "kind"})
    return request


def settle(request: Request, catalogue: Catalogue) -> Spec:
    """
    Fill in what a request leaves to its model, and check that this can do it.

    Raises:
        ModelNotAvailable: No model of that name.
        InvalidRequest: The model cannot do what is asked.
    """
    kind = kind_of(request.kind)
    model = catalogue.find(getattr(request, "model", None)) if kind.needs_model else None
    settled: Spec = kind.settle(request, model)
    return settled

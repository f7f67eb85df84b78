"""What every job has, of whatever kind: whose it is, when it is worth having, and what it is called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from jobs.fields import Name, Seconds, Strict

Priority = Literal["low", "normal", "high"]
DEFAULT_PRIORITY: Priority = "normal"
DEFAULT_CALLER = "default"

Tags = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]


class Envelope(Strict):
    """Fields of every request and of every specification, beside those of its kind."""

    priority: Priority = DEFAULT_PRIORITY
    """Order among the caller's own queued jobs; other callers' jobs are not affected."""
    start_deadline: Seconds | None = None
    """Seconds after submission; if the job has not started by then, it expires."""
    deadline: Seconds | None = None
    """Seconds after submission; if the job has not ended by then, it expires."""
    start_after: Seconds | None = None
    """Seconds after submission before which the job does not start; less than both deadlines."""
    time_limit: Seconds | None = None
    """Seconds that the job may run; after that it expires."""
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """A repeated submission with the same key and caller returns the same job."""
    metadata: Tags = {}  # noqa: RUF012 - pydantic copies it
    """The caller's own tags; returned with the job."""
    caller: Name = DEFAULT_CALLER
    """The caller, for fairness between callers."""


def _is_said(name: str) -> dict[str, JsonValue]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


class Change(Strict):
    """What can be changed of a job while it waits: its place among its caller's own."""

    # One of both has to be there, and not null.
    model_config = ConfigDict(json_schema_extra={"anyOf": [_is_said("priority"), _is_said("position")]})

    priority: Priority | None = None
    """The new priority."""
    position: Literal["front"] | None = None
    """`front`: before all queued jobs of its caller with the same priority."""

    @model_validator(mode="after")
    def _changes_something(self) -> Change:
        if self.priority is None and self.position is None:
            raise ValueError("nothing to change; give `priority`, `position` or both")
        return self

"""How much of a picture an edit leaves: `strength` is the share of the steps that run."""

from __future__ import annotations

from jobs.errors import ErrorCode
from jobs.kinds.edit import EditSpec
from workers.engine.errors import GenerationFailed


def check_strength(spec: EditSpec) -> None:
    """Raise `GenerationFailed`, `invalid_request`, for a strength that runs no step."""
    if spec.passes < 1:
        steps = f"{spec.strength:g} of {spec.num_inference_steps} steps"
        raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"strength: {steps} is none")

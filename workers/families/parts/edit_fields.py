"""What an edit may ask of a model, however that edits."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.errors import ErrorCode
from jobs.kinds.edit import EditSpec, passes_of, too_many
from workers.engine.errors import GenerationFailed
from workers.runners.edit_work import Edit


def check_edit(edit: Edit, entry: Model, ways: Mapping[Edited, WayToEdit], most_references: int) -> WayToEdit:
    """
    How a model does this edit.

    Args:
        ways: In which it edits.
        most_references: Further pictures that an edit without a mask may look at.

    Raises:
        GenerationFailed: `invalid_request`, where it does not do it, or would ignore a field.
    """
    field: Edited = "image" if edit.mask is None else "mask"
    way = ways.get(field)
    if way is None:
        does = "edits no pictures" if edit.mask is None else "does not repaint a masked part of a picture"
        raise _refused(f"{field}: {entry.name} {does}")
    if edit.spec.strength < 1 and way == "instruction":
        raise _refused(f"strength: {entry.name} edits by instruction, without a strength; use 1")
    most = 0 if edit.mask is not None else most_references
    if len(edit.references) > most:
        raise _refused(f"references: {too_many(entry, most, len(edit.references))}")
    check_strength(edit.spec, entry)
    return way


def check_strength(spec: EditSpec, entry: Model) -> None:
    """Raise `GenerationFailed`, `invalid_request`, for a strength that runs no step."""
    if passes_of(spec, entry) < 1:
        steps = f"{spec.strength:g} of {spec.num_inference_steps} steps"
        raise _refused(f"strength: {steps} is none")


def _refused(sentence: str) -> GenerationFailed:
    return GenerationFailed(ErrorCode.INVALID_REQUEST, sentence)

"""How pictures are edited: what was sent is laid out for the model, and what that made is put back where it belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np

from jobs.errors import ErrorCode
from jobs.inputs.heads import PictureRefused
from jobs.kinds.edit import EDIT, EditSpec
from jobs.kinds.inputs import Input, by_path
from workers.engine.errors import GenerationFailed
from workers.engine.ticket import Ticket
from workers.runners.canvas import Canvas, held_bytes, lay_out, paste_bytes
from workers.runners.edit_work import Edit
from workers.runners.input_pictures import memory_bytes, read_mask, read_picture, size_of
from workers.runners.pictures import PicturesRunner
from workers.runners.postprocess import Pixels
from workers.runners.runner import Note, Tools

# Of memory, for each pixel: of a picture and of a mask that are open, of what is scaled, where the larger of the two
# counts, and of a picture as Pillow has it, which a pipeline gets.
_PICTURE_BYTES, _MASK_BYTES, _SCALE_BYTES, _HANDED_BYTES = 3, 1, 11, 4

_MASK = "mask"


class _Pasted(Sequence[Pixels]):
    """The results, each made when it is asked for: a picture may be much larger than what the model made of it."""

    def __init__(self, made: Sequence[Pixels], canvas: Canvas) -> None:
        self._made, self._canvas = made, canvas

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | Sequence[Pixels]:
        if isinstance(index, slice):
            return _Pasted(self._made[index], self._canvas)
        return self._canvas.paste(self._made[index])


class _Editing:
    """The engine's ticket, whose result is pasted."""

    def __init__(self, ticket: Ticket[list[Pixels]], canvas: Canvas) -> None:
        self._ticket, self._canvas = ticket, canvas

    @property
    def timings(self) -> Mapping[str, float]:
        return self._ticket.timings

    @property
    def batch_facts(self) -> Mapping[str, Any]:
        return self._ticket.batch_facts

    def leave(self, reason: BaseException) -> None:
        self._ticket.leave(reason)

    def result(self) -> Sequence[Pixels]:
        return _Pasted(self._ticket.result(), self._canvas)


class EditRunner(PicturesRunner[EditSpec]):
    """Of the kind `edit`."""

    def input_bytes(self, spec: EditSpec) -> int:
        """The most of several moments: one is read beside those that are open, or all are laid out."""
        most = opened = 0
        for field, each in EDIT.inputs(spec).items():
            most = max(most, opened + memory_bytes((each.width, each.height)))
            opened += _opened_bytes(field, each)
        larger = max(spec.image.width * spec.image.height, spec.width * spec.height)
        return max(most, self.begun_bytes(spec) + _SCALE_BYTES * larger)

    def begun_bytes(self, spec: EditSpec) -> int:
        """All are open, and laid out; those that are only looked at are handed to the model, too."""
        opened = sum(_opened_bytes(field, each) for field, each in EDIT.inputs(spec).items())
        handed = sum(_HANDED_BYTES * each.width * each.height for each in spec.references or ())
        return opened + handed + held_bytes((spec.width, spec.height))

    def open(self, field: str, data: bytes, spec: EditSpec) -> Any:
        """A picture: uint8 (height, width, 3); `mask`: bool (height, width), true where it is repainted."""
        named = EDIT.inputs(spec)[field]
        try:
            if size_of(data) != (named.width, named.height):
                raise PictureRefused("it is another picture than when the job was submitted")
            if field != _MASK:
                return read_picture(data)
            mask = read_mask(data)
        except PictureRefused as exc:
            raise GenerationFailed(ErrorCode.INVALID_INPUT, str(exc)) from exc
        if not np.any(mask):
            reason = "nothing of it is white or transparent, so nothing would change"
            raise GenerationFailed(ErrorCode.INVALID_INPUT, reason)
        return mask

    def start(self, spec: EditSpec, tools: Tools, note: Note) -> _Editing:
        assert tools.entry is not None, "the kind needs a model"  # noqa: S101 - what its registration says
        canvas = lay_out(
            tools.inputs["image"],
            tools.inputs.get(_MASK),
            tools.entry,
            wanted=(spec.width, spec.height),
            padding_mask_crop=spec.padding_mask_crop,
        )
        edit = Edit(
            spec=spec.model_copy(update={"width": canvas.plan.width, "height": canvas.plan.height}),
            image=canvas.cut(),
            mask=canvas.cut_mask(),
            references=[tools.inputs[field] for field in by_path({"references": spec.references})],
        )
        return _Editing(tools.engine.submit(spec.model, edit, note), canvas)

    def file_bytes(self, spec: EditSpec) -> int:
        return super().file_bytes(spec) + paste_bytes((spec.width, spec.height))


def _opened_bytes(field: str, each: Input) -> int:
    return (_MASK_BYTES if field == _MASK else _PICTURE_BYTES) * each.width * each.height

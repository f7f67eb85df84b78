"""How a sketch is made: the model's adapter draws it as it draws any picture; an outline is written beside it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from jobs.kinds.generate import GenerateSpec
from tests.kinds.sketch_kind import SketchSpec
from workers.engine.ticket import ENCODE, GENERATE, Ticket
from workers.runners.files import MadeFile
from workers.runners.postprocess import Pixels
from workers.runners.runner import Note, Runner, Tools

_SIDE_PX = 64
_STAGES = {ENCODE: "look", GENERATE: "draw"}  # The engine's words, and the kind's.


class _Drawing:
    """The engine's ticket, in the words of the kind."""

    def __init__(self, ticket: Ticket[list[Pixels]], after: bytes) -> None:
        self._ticket, self.after = ticket, after

    @property
    def timings(self) -> Mapping[str, float]:
        return {_STAGES[word]: seconds for word, seconds in self._ticket.timings.items()}

    @property
    def batch_facts(self) -> Mapping[str, Any]:
        return self._ticket.batch_facts

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._ticket.warnings

    def leave(self, reason: BaseException) -> None:
        self._ticket.leave(reason)

    def result(self) -> tuple[Pixels, bytes]:
        (pixels,) = self._ticket.result()
        return pixels, self.after


class SketchRunner(Runner[SketchSpec, tuple[Pixels, bytes]]):
    first_stage = "look"

    def start(self, spec: SketchSpec, tools: Tools, note: Note) -> _Drawing:
        def on_progress(stage: str, step: int, steps: int) -> None:
            note(_STAGES[stage], step, steps)
            if step and step % spec.tell_every == 0:
                tools.send({"drawn": step, "of": steps})

        ticket = tools.engine.submit(spec.model, _work_of(spec), on_progress)
        return _Drawing(ticket, tools.inputs["image"])

    def file_bytes(self, spec: SketchSpec) -> int:
        del spec
        return 14 * _SIDE_PX**2

    def files(self, result: tuple[Pixels, bytes], spec: SketchSpec, tools: Tools) -> Iterator[MadeFile]:
        del tools
        pixels, after = result
        picture = io.BytesIO()
        Image.fromarray(pixels).save(picture, "PNG")
        meta = {"width": pixels.shape[1], "height": pixels.shape[0], "seed": spec.seed}
        yield MadeFile(body=picture.getvalue(), extension="png", content_type="image/png", meta=meta, name="picture")
        outline = json.dumps({"prompt": spec.prompt, "after": hashlib.sha256(after).hexdigest()}).encode()
        yield MadeFile(
            body=outline, extension="json", content_type="application/json", meta={"points": 4}, name="outline"
        )

    def count(self, result: tuple[Pixels, bytes], spec: SketchSpec) -> int:
        del result, spec
        return 2

    def data(self, result: tuple[Pixels, bytes], spec: SketchSpec) -> dict[str, Any] | None:
        del spec
        return {"after_bytes": len(result[1])}


def _work_of(spec: SketchSpec) -> GenerateSpec:
    """What adapters of picture models understand."""
    return GenerateSpec(
        prompt=spec.prompt,
        model=spec.model,
        width=_SIDE_PX,
        height=_SIDE_PX,
        num_inference_steps=spec.draw_steps,
        guidance_scale=1.0,
        scheduler="ddim",
        seed=spec.seed,
    )

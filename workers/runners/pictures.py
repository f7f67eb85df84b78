"""How pictures are generated: the engine makes pixels, and these become files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from workers.engine.ticket import Ticket
from workers.runners.files import MadeFile
from workers.runners.postprocess import Pixels, memory_bytes, postprocess
from workers.runners.runner import Note, Tools


class GenerateRunner:
    """Of the kind `generate`."""

    first_stage = str(Stage.ENCODE)

    def start(self, spec: GenerateSpec, tools: Tools, note: Note) -> Ticket[list[Pixels]]:
        """The engine's own ticket."""
        ticket: Ticket[list[Pixels]] = tools.engine.submit(spec.model, spec, note)
        return ticket

    def file_bytes(self, spec: GenerateSpec) -> int:
        return memory_bytes(spec)

    def files(self, result: list[Pixels], spec: GenerateSpec, tools: Tools) -> Iterator[MadeFile]:
        """One of each image, in the order of their seeds."""
        assert tools.entry is not None, "the kind needs a model"  # noqa: S101 - what its registration says
        for index, pixels in enumerate(result):
            yield postprocess(pixels, spec, tools.entry, index)

    def count(self, result: list[Pixels], spec: GenerateSpec) -> int:
        del spec
        return len(result)

    def data(self, result: list[Pixels], spec: GenerateSpec) -> dict[str, Any] | None:
        """Pictures say all in their files."""
        del result, spec
        return None

"""How pictures are generated: the engine makes pixels, and these become files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from jobs.errors import ErrorCode
from jobs.kinds.effects import effects
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from workers.engine.errors import GenerationFailed
from workers.engine.ticket import Ticket
from workers.runners.files import MadeFile
from workers.runners.postprocess import Pixels, memory_bytes, postprocess
from workers.runners.runner import Note, Runner, Tools
from workers.runners.signing import SigningFailed

_UNSIGNED = "the picture could not be signed; the server's log has the reason under the job's id"

S_contra = TypeVar("S_contra", bound=GenerateSpec, contravariant=True)


class PicturesRunner(Runner[S_contra, Sequence[Pixels]]):
    """Of a kind whose results are pictures: one file of each, in the order of their seeds."""

    first_stage = str(Stage.ENCODE)

    def warnings(self, spec: S_contra, tools: Tools) -> tuple[str, ...]:
        assert tools.entry is not None, "the kind needs a model"  # noqa: S101 - what its registration says
        return effects(spec, tools.entry)

    def file_bytes(self, spec: S_contra) -> int:
        return memory_bytes(spec)

    def files(self, result: Sequence[Pixels], spec: S_contra, tools: Tools) -> Iterator[MadeFile]:
        for index, pixels in enumerate(result):
            yield _file_of(pixels, spec, tools, index)

    def count(self, result: Sequence[Pixels], spec: S_contra) -> int:
        del spec
        return len(result)

    def data(self, result: Sequence[Pixels], spec: S_contra) -> dict[str, Any] | None:
        """Pictures say all in their files."""
        del result, spec
        return None


def _file_of(pixels: Pixels, spec: GenerateSpec, tools: Tools, index: int) -> MadeFile:
    assert tools.entry is not None, "the kind needs a model"  # noqa: S101 - what its registration says
    file = postprocess(pixels, spec, tools.entry, index)
    if tools.signer is None:
        return file
    try:
        return tools.signer.sign(file, spec.digital_source)
    except SigningFailed as exc:
        raise GenerationFailed(ErrorCode.GENERATION_ERROR, _UNSIGNED, f"not signed: {exc}") from exc


class GenerateRunner(PicturesRunner[GenerateSpec]):
    """Of the kind `generate`."""

    def start(self, spec: GenerateSpec, tools: Tools, note: Note) -> Ticket[list[Pixels]]:
        """The engine's own ticket."""
        ticket: Ticket[list[Pixels]] = tools.engine.submit(spec.model, spec, note)
        return ticket

"""How words are counted: one after the other, in the attempt's own thread."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.errors import ErrorCode
from tests.kinds.count_kind import CountSpec
from workers.engine.errors import GenerationFailed
from workers.runners.files import MadeFile
from workers.runners.runner import Note, Runner, Tools

UNCOUNTABLE = "uncountable"  # A word that fails its job.
POISON = "poison"  # A word that kills its process, while the file is there that COUNT_POISON names.


class _Counting:
    batch_facts: Mapping[str, Any] = {}
    warnings = ()

    def __init__(self, spec: CountSpec, note: Note) -> None:
        self._spec, self._note = spec, note
        self._left = threading.Event()
        self._reason: BaseException | None = None
        self.timings: dict[str, float] = {}

    def leave(self, reason: BaseException) -> None:
        self._reason = self._reason or reason
        self._left.set()

    def result(self) -> int:
        began = time.perf_counter()
        words = self._spec.text.split()
        self.timings["split"] = time.perf_counter() - began
        for number, word in enumerate(words, 1):
            _look_at(word)
            if self._left.wait(self._spec.word_s) and self._reason is not None:
                raise self._reason
            self._note("count", number, len(words))
        self.timings["count"] = time.perf_counter() - began
        return len(words)


class CountRunner(Runner[CountSpec, int]):
    first_stage = "split"

    def start(self, spec: CountSpec, tools: Tools, note: Note) -> _Counting:
        assert tools.entry is None and not tools.inputs
        return _Counting(spec, note)

    def file_bytes(self, spec: CountSpec) -> int:
        del spec
        return 0

    def files(self, result: int, spec: CountSpec, tools: Tools) -> Iterator[MadeFile]:
        del result, spec, tools
        return iter(())

    def count(self, result: int, spec: CountSpec) -> int:
        del result, spec
        return 0

    def data(self, result: int, spec: CountSpec) -> dict[str, Any] | None:
        del spec
        return {"words": result}


def _look_at(word: str) -> None:
    if word == UNCOUNTABLE:
        raise GenerationFailed(ErrorCode.INVALID_OUTPUT, f"{word!r} is not to be counted")
    if word == POISON and Path(os.environ["COUNT_POISON"]).exists():
        os.kill(os.getpid(), signal.SIGKILL)

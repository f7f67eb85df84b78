"""Whatever class of error reaches a route, a route answers nothing of what is inside; a new class has to be judged."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import jobs
import producer
import storage
import workers.attempt
import workers.engine
from jobs.errors import ImagemillError
from producer.api.http.errors import problem_of
from producer.api.openai.errors import openai_problem_of
from storage.errors import StorageError
from workers.attempt.failure import failure_of
from workers.engine.errors import RunEnded, as_generation_failure

INSIDE = "redis://10.9.8.7:6379 refuses: /srv/models/secret (OSError)"

# What these say, the request or the job itself has said: names of fields, keys and jobs, and figures.
OF_THE_REQUEST = {
    *(
        "InvalidRequest",
        "NoEffect",
        "ModelNotAvailable",
        "MessageOverQuota",
        "NotServed",
        "JobFailed",
        "RecordUnreadable",
    ),
    *("IdempotencyConflict", "JobNotFound", "JobNotQueued", "JobNotEnded", "ResultDeleted"),
    *("BatchNotFound", "BatchCanceled", "QuotaExceeded"),
    *("FileInUse", "FileNotFound", "FileTooLarge", "FilesTooLarge"),
    *("BodyMalformed", "BodyOfOtherType", "BodyTooSlow", "PageRefused"),
    *("KeyRefused", "KindNotAllowed", "ModelNotAllowed", "RateExceeded"),
    *("TooManyBatches", "TooManyBytes", "TooManyConnections", "TooManyUploads", "TooMuchKept"),
}
# Likewise, of a job; `JobLeft` has its status alone.
OF_THE_JOB = {"GenerationFailed", "WrongPictures", "JobLeft"}


def imported(package: ModuleType) -> None:
    """All modules of a package, so that every class is there."""
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)


for each in (jobs, storage, producer, workers.engine, workers.attempt):
    imported(each)


def classes(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for each in base.__subclasses__():
        yield from classes(each)


def made(kind: type[Exception]) -> Exception:
    """One whose every text is from inside."""
    if kind.__init__ is Exception.__init__ or "__init__" not in dir(kind):
        return kind(INSIDE)
    values: list[Any] = []
    for name, each in list(inspect.signature(kind).parameters.items()):
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            values.append({"str": INSIDE, "Sequence[str | None]": [INSIDE]}.get(str(each.annotation), _value(name)))
    return kind(*values)


def _value(name: str) -> Any:
    return (INSIDE,) if name in ("models", "allowed") else INSIDE if name in ("args", "caller", "detail") else 3


HTTP = sorted({*classes(ImagemillError), *classes(StorageError)}, key=lambda each: each.__name__)
OURS = [each for each in HTTP if not each.__module__.startswith("tests")]
WORKER = sorted({*classes(RunEnded), *classes(StorageError)}, key=lambda each: each.__name__)


@pytest.mark.parametrize("answer", [problem_of, openai_problem_of])
@pytest.mark.parametrize(
    "kind", [each for each in OURS if each.__name__ not in OF_THE_REQUEST], ids=lambda each: each.__name__
)
def test_a_route_keeps_back_what_an_error_says(kind: type[Exception], answer: Any) -> None:
    problem = answer(made(kind))
    assert problem is None or not any(word in str(problem.content()) for word in ("10.9", "/srv", "OSError"))


def test_the_classes_that_may_speak_are_there() -> None:
    assert {each.__name__ for each in OURS} >= OF_THE_REQUEST


@pytest.mark.parametrize(
    "kind", [each for each in WORKER if each.__name__ not in OF_THE_JOB], ids=lambda each: each.__name__
)
def test_a_job_keeps_back_what_an_error_says(kind: type[Exception]) -> None:
    failure = failure_of(made(kind))
    assert "10.9" not in failure.message
    assert INSIDE in failure.detail, "the log has it"


@pytest.mark.parametrize("exc", [RuntimeError(INSIDE), OSError(2, INSIDE), MemoryError(INSIDE), ValueError(INSIDE)])
def test_a_library_in_the_engine_and_beside_it_is_not_quoted(exc: Exception) -> None:
    for failure in (failure_of(exc), failure_of(as_generation_failure(exc))):
        assert "10.9" not in failure.message
        assert "Error" not in failure.message
        assert INSIDE in failure.detail

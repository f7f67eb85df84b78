"""Errors travel: through pickle, and through Celery's result backend to callers who submit by Celery alone."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from celery import Celery

from jobs import errors
from jobs.errors import ErrorCode, ImagemillError, JobFailed, Permanent, Retryable

FAILED = JobFailed("a-job", ErrorCode.OUT_OF_MEMORY, "the device has too little memory")
ALL_ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ImagemillError)]


def assert_same_failure(exc: BaseException) -> None:
    assert isinstance(exc, JobFailed)
    assert (exc.job_id, exc.code, exc.reason) == (FAILED.job_id, FAILED.code, FAILED.reason)
    assert str(exc) == str(FAILED) == "job a-job ended with out_of_memory: the device has too little memory"


def test_failed_job_survives_a_result_backend() -> None:
    backend = Celery("caller", backend="cache+memory://", set_as_current=False).backend
    stored = backend.encode(backend.prepare_exception(FAILED, serializer="json"))
    assert_same_failure(backend.exception_to_python(backend.decode(stored)))
    assert backend.decode(stored)["exc_module"] == "jobs.errors"  # Where clients of other versions look for it.


def test_failed_job_survives_pickle_and_copy() -> None:
    assert_same_failure(pickle.loads(pickle.dumps(FAILED)))  # noqa: S301 - our own
    assert_same_failure(copy.copy(FAILED))


def test_error_codes_are_those_of_the_design_and_distinct() -> None:
    members = ErrorCode.__members__  # Aliases included.
    assert len(set(members.values())) == len(members)
    assert {str(code) for code in ErrorCode} == {
        "invalid_request",
        "model_not_available",
        "out_of_memory",
        "generation_error",
        "invalid_input",
        "invalid_output",
        "deadline_exceeded",
        "worker_lost",
        "quota_exceeded",
        "storage_unavailable",
    }


@pytest.mark.parametrize(
    "error", [each for each in ALL_ERRORS if each is not ImagemillError], ids=lambda error: error.__name__
)
def test_every_error_says_whether_trying_again_helps(error: type[ImagemillError]) -> None:
    assert issubclass(error, Permanent) != issubclass(error, Retryable)


def test_the_tree_names_every_error_below_its_base() -> None:
    path: list[str] = []
    drawn = {}
    for indent, name in re.findall(r"^    ([│├└─ ]*)(\w+)", errors.__doc__ or "", re.MULTILINE):
        path[len(indent) // 4 :] = [name]
        drawn[name] = path[-2] if len(path) > 1 else "Exception"
    assert drawn == {each.__name__: each.__bases__[0].__name__ for each in ALL_ERRORS}

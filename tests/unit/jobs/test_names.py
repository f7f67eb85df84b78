"""What may be a job's id, and what a task is refused as that has another."""

from __future__ import annotations

import pytest

from jobs import names


def test_task_is_the_job_of_its_id() -> None:
    assert names.job_id_of("a-job.1_2") == "a-job.1_2"


@pytest.mark.parametrize("task_id", ["my picture", "a" * 200, "", "../x", "\ud800", "é"])
def test_task_with_an_id_that_is_no_job_s_is_refused_under_one_that_follows_from_it(task_id: str) -> None:
    job_id = names.job_id_of(task_id)
    assert names.is_job_id(job_id)
    assert job_id == names.job_id_of(task_id) != names.job_id_of(f"{task_id} ")

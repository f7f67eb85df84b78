"""What the system says is so."""

from __future__ import annotations

from tests.blackbox.conftest import MakeSystem


def test_a_sender_with_celery_alone_gets_his_result_from_a_worker_that_was_told_of_no_backend(
    make_system: MakeSystem,
) -> None:
    system = make_system()
    system.worker()
    fields = {"prompt": "a green cross on a white background", "num_inference_steps": 2}
    task = system.celery().send_task("imagemill.generate", kwargs=fields, queue="gpu.shapes")
    result = task.get(timeout=90)
    assert [image["width"] for image in result["images"]] == [128]

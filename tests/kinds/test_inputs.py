"""What a job names in the store is fetched before it begins; what is wrong with it is told by the field's name."""

from __future__ import annotations

from tests.blackbox.system import System, until
from tests.kinds.conftest import INPUT_KEY, MakeSystem

SKETCH = {"kind": "sketch", "prompt": "a house"}


def test_an_input_that_is_not_there_fails_the_job_by_the_name_of_its_field(system: System) -> None:
    job = system.end_of(system.submit(**SKETCH, image="inputs/none.bin"))
    assert (job["status"], job["attempts"]) == ("failed", 0)
    assert job["error"] == {
        "code": "invalid_request",
        "message": "image: there is no object 'inputs/none.bin' in the store",
    }


def test_a_job_waits_for_a_store_that_is_away_when_it_is_to_fetch(make_system: MakeSystem) -> None:
    system = make_system()
    system.serve()
    worker = system.worker()
    system.s3_server.stop()
    waiting, unwanted = (system.submit(**SKETCH, image=INPUT_KEY) for _ in range(2))
    until("both wait for their input", lambda: worker.printed("waits for its input") >= 2)
    system.http("DELETE", f"/v1/jobs/{unwanted}")
    assert system.end_of(unwanted)["status"] == "canceled"
    system.s3_server.start()
    system.s3_server.wait_until_ready()
    assert system.end_of(waiting)["status"] == "succeeded"

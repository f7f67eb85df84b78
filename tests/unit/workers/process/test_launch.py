"""What a worker checks before it starts, and what sets its processes apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.errors import InvalidConfiguration
from jobs.process.settings import Settings
from tests.certificates import make_chain
from workers.process.parent.launch import _share_of, launch, threads_of_each
from workers.process.settings import WorkerSettings

THREADS, PORT = "IMAGEMILL_WORKER_THREADS", "IMAGEMILL_METRICS_PORT"
CHECKOUT = Path(__file__).resolve().parents[4]


def test_a_single_process_has_the_machine_to_itself() -> None:
    assert _share_of(0, 1, Settings(), WorkerSettings()) == {}
    assert threads_of_each(1) == 0, "torch's own choice"


def test_several_divide_the_processors_and_have_a_port_each() -> None:
    shares = [_share_of(number, 2, Settings(metrics_port=9500), WorkerSettings()) for number in range(2)]
    assert [share[PORT] for share in shares] == ["9500", "9501"]
    assert {share[THREADS] for share in shares} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


def test_each_has_a_thread_however_many_there_are() -> None:
    assert threads_of_each(1000) == 1


def test_threads_that_were_asked_for_are_of_each() -> None:
    assert _share_of(1, 2, Settings(), WorkerSettings(threads=3))[THREADS] == "3"


def test_metrics_that_are_off_stay_off() -> None:
    assert PORT not in _share_of(1, 2, Settings(metrics_port=None), WorkerSettings())


@pytest.mark.parametrize("processes", [0, 257])
def test_a_number_of_processes_that_makes_no_sense_is_refused(processes: int) -> None:
    with pytest.raises(ValueError, match="processes"):
        WorkerSettings(processes=processes)


def test_model_of_a_family_that_there_is_not_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models.toml"
    models.write_text(
        (CHECKOUT / "models.toml").read_text().replace('family = "stable-diffusion"', 'family = "flux-3"')
    )
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(models))
    with pytest.raises(
        InvalidConfiguration, match=r"model shapes: there is no family 'flux-3'; there are .*, diffusers, "
    ):
        launch([], None, 0.0)


def test_certificate_that_signs_nothing_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_chain(tmp_path / "one"), make_chain(tmp_path / "other")
    monkeypatch.setenv("IMAGEMILL_WORKER_C2PA_CERTIFICATE_FILE", str(one.certificate_file))
    monkeypatch.setenv("IMAGEMILL_WORKER_C2PA_KEY_FILE", str(other.key_file))
    with pytest.raises(
        InvalidConfiguration, match=r"C2PA_CERTIFICATE_FILE: no picture can be signed with .*chain\.pem"
    ):
        launch([], None, 0.0)

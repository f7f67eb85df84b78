"""What Kubernetes sets in a container is told from settings, by its name and by its value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import jobs.process.kubernetes
import storage.kubernetes
from jobs.errors import InvalidConfiguration
from jobs.process.settings import Settings, load_settings
from ops.doctor.settings import load_doctor_settings
from ops.programs import Flower
from ops.settings import StackSettings, load_stack_settings
from producer.api.settings import ApiSettings, load_api_settings
from storage.backends.s3.settings import S3Settings
from storage.errors import StorageMisconfigured
from storage.registry import load_storage_settings
from workers.process.settings import WorkerSettings, load_worker_settings

OURS = ("", "_API", "_REDIS", "_METRICS", "_S3", "_WORKER", "_STACK_REDIS", "_DOCTOR", "_API_2")


def variables(service: str, address: str = "10.0.0.7", protocol: str = "tcp") -> dict[str, str]:
    """Of one service, as its documentation shows them."""
    host = f"[{address}]" if ":" in address else address
    url, port = f"{protocol}://{host}:8000", f"{service}_PORT_8000_{protocol.upper()}"
    return {
        f"{service}_SERVICE_HOST": address,
        f"{service}_SERVICE_PORT": "8000",
        f"{service}_SERVICE_PORT_HTTP": "8000",
        f"{service}_SERVICE_PORT_HTTP_ALT": "8000",
        f"{service}_PORT": url,
        port: url,
        f"{port}_PROTO": protocol,
        f"{port}_PORT": "8000",
        f"{port}_ADDR": address,
    }


@pytest.fixture(params=[jobs.process.kubernetes.is_service_variable, storage.kubernetes.is_service_variable])
def is_service_variable(request: pytest.FixtureRequest) -> Callable[[str, str], bool]:
    told: Callable[[str, str], bool] = request.param
    return told


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("address", ["10.0.0.7", "fd00:10::7"])
def test_all_that_kubernetes_sets_for_a_service_is_known(
    is_service_variable: Callable[[str, str], bool], address: str, protocol: str
) -> None:
    for name, value in variables("IMAGEMILL_API", address, protocol).items():
        assert is_service_variable(name, value), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEMILL_API_PORT", "8001"),
        ("IMAGEMILL_METRICS_PORT", "off"),
        ("IMAGEMILL_STACK_REDIS_PORT", "0"),
        ("IMAGEMILL_REDIS_URL", "tcp://10.0.0.7:6379"),
        ("IMAGEMILL_API_HOST", "10.0.0.7"),
        ("IMAGEMILL_SERVICE_HOST", "redis.internal"),
        ("IMAGEMILL_SERVICE_PORT", "many"),
        ("IMAGEMILL_PORT_8000", "8000"),
        ("IMAGEMILL_API_PORTS", "tcp://10.0.0.7:8000"),
        ("IMAGEMILL_PORT_8000_TCP_PROTO", "8000"),
        ("IMAGEMILL_PORT_8000_TCP_ADDRESS", "10.0.0.7"),
    ],
)
def test_what_somebody_set_for_us_is_none_of_it(
    is_service_variable: Callable[[str, str], bool], name: str, value: str
) -> None:
    assert not is_service_variable(name, value)


def test_every_room_leaves_them_alone_where_they_have_the_names_of_its_settings_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for service in OURS:
        for name, value in variables(f"IMAGEMILL{service}").items():
            monkeypatch.setenv(name, value)
    loaded = (load_settings(), load_storage_settings(), load_api_settings(), load_worker_settings())
    assert loaded == (Settings(), S3Settings(), ApiSettings(), WorkerSettings())
    assert (load_settings().metrics_port, load_api_settings().port) == (9464, 8000)
    assert load_stack_settings() == StackSettings()
    assert load_stack_settings().redis_port == 6390
    assert load_doctor_settings().flower_url is None


def test_settings_beside_them_are_read_and_misspelt_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables("IMAGEMILL").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEMILL_API_PORT", "8001")
    assert load_api_settings().port == 8001
    monkeypatch.setenv("IMAGEMILL_S3_PORT", "9000")
    with pytest.raises(StorageMisconfigured, match=r"^IMAGEMILL_S3_PORT: unknown setting"):
        load_storage_settings()
    monkeypatch.setenv("IMAGEMILL_SERVICE_HOST", "here")
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_SERVICE_HOST: unknown setting"):
        load_settings()


def test_flower_is_told_nothing_of_a_service_that_has_its_name(tmp_path: Path) -> None:
    flower = Flower(tmp_path, 5555, {"FLOWER_BASIC_AUTH": "me:secret", **variables("FLOWER")})
    assert flower.env == {"FLOWER_BASIC_AUTH": "me:secret"}

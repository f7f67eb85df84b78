"""Which store it is: chosen by a setting, from those that the registry has a line for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ops.doctor.finding import State
from ops.doctor.store import check_store
from producer import Client
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.errors import NotSupported, StorageMisconfigured
from storage.registry import BACKENDS, backend_of, load_storage_settings, open_store
from storage.settings import StorageSettings
from tests.unit.storage.memory import MemorySettings, MemoryStore


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A further store is registered, and chosen."""
    monkeypatch.setitem(BACKENDS, "memory", "tests.unit.storage.memory:MemoryStore")
    monkeypatch.setenv("IMAGEMILL_STORAGE", "memory")
    return monkeypatch


def test_it_is_s3_where_nothing_is_said() -> None:
    store = open_store()
    assert isinstance(store, S3Store)
    assert store.settings == S3Settings()


@pytest.mark.parametrize("name", BACKENDS)
def test_each_line_leads_to_a_store_of_that_name(name: str) -> None:
    settings_class = backend_of(name).settings_class
    assert settings_class.backend == name
    own = {"s3": "IMAGEMILL_S3_"}.get(name, f"IMAGEMILL_STORAGE_{name.upper()}_")
    assert settings_class.model_config["env_prefix"] == own


def test_setting_chooses(memory: pytest.MonkeyPatch) -> None:
    memory.setenv("IMAGEMILL_STORAGE_MEMORY_COLOR", "red")
    memory.setenv("IMAGEMILL_STORAGE_MEMORY_PREFIX", "pictures")
    store = open_store()
    assert isinstance(store, MemoryStore)
    assert (store.name, store.settings.prefix) == ("the red store", "pictures")


def test_file_of_secrets_chooses_too(memory: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory.delenv("IMAGEMILL_STORAGE")
    memory.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "imagemill_storage").write_text("memory\n")
    assert load_storage_settings() == MemorySettings()


def test_settings_that_are_given_choose_whatever_the_environment_says(memory: pytest.MonkeyPatch) -> None:
    assert isinstance(open_store(S3Settings()), S3Store)
    memory.setenv("IMAGEMILL_STORAGE", "s3")
    assert isinstance(open_store(MemorySettings()), MemoryStore)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("name", ["", "s4", "S3"])
def test_unknown_store_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("IMAGEMILL_STORAGE", name)
    with pytest.raises(StorageMisconfigured, match=f"^IMAGEMILL_STORAGE: there is no store '{name}'; .* memory, s3$"):
        open_store()


@pytest.mark.parametrize(
    ("chosen", "name", "known"),
    [
        ("memory", "IMAGEMILL_STORAGE_MEMORY_COLOUR", "IMAGEMILL_STORAGE_MEMORY_COLOR"),
        ("memory", "IMAGEMILL_STORAGE_BOARD_COLOR", "IMAGEMILL_STORAGE_MEMORY_COLOR"),
        ("s3", "IMAGEMILL_STORAGE_S3_BUCKET", "IMAGEMILL_S3_BUCKET"),
        ("s3", "IMAGEMILL_STORAGE_RETENTION_DAYS", "IMAGEMILL_S3_RETENTION_DAYS"),
        ("s3", "IMAGEMILL_STORAGE_PORT", "IMAGEMILL_STORAGE$"),
    ],
)
def test_unknown_setting_of_a_store_is_refused_with_those_that_there_are(
    memory: pytest.MonkeyPatch, chosen: str, name: str, known: str
) -> None:
    memory.setenv("IMAGEMILL_STORAGE", chosen)
    memory.setenv(name, "80")
    with pytest.raises(StorageMisconfigured, match=f"^{name}: unknown setting; the settings are .*{known}"):
        open_store()


def test_unknown_store_is_named_before_its_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_STORAGE", "memory")
    monkeypatch.setenv("IMAGEMILL_STORAGE_MEMORY_COLOR", "red")
    with pytest.raises(StorageMisconfigured, match=r"^IMAGEMILL_STORAGE: there is no store 'memory'"):
        open_store()


def test_store_whose_library_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "attic", "storage.backends.attic:AtticStore")
    monkeypatch.setenv("IMAGEMILL_STORAGE", "attic")
    with pytest.raises(
        StorageMisconfigured, match=r"^IMAGEMILL_STORAGE: store 'attic' needs a package that is not installed"
    ):
        open_store()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEMILL_STORAGE_MEMORY_BOARD", "tcp://10.0.0.1:21"),
        ("IMAGEMILL_STORAGE_MEMORY_PORT", "tcp://10.0.0.1:21"),
        ("IMAGEMILL_STORAGE_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_what_kubernetes_sets_is_no_setting(memory: pytest.MonkeyPatch, name: str, value: str) -> None:
    memory.setenv(name, value)
    if name.endswith("BOARD"):  # Not of the form of Kubernetes' names.
        with pytest.raises(StorageMisconfigured, match=f"^{name}: "):
            open_store()
    else:
        assert open_store().settings == MemorySettings()


def test_settings_of_no_store_are_not_taken() -> None:
    with pytest.raises(TypeError, match="S3Settings"):
        StorageSettings()
    with pytest.raises(TypeError, match="env_prefix"):
        type("Bare", (StorageSettings,), {})
    with pytest.raises(ValidationError, match="colour"):
        MemorySettings.model_validate({"colour": "red"})


def test_settings_of_a_store_that_is_not_chosen_are_its_own(memory: pytest.MonkeyPatch) -> None:
    memory.setenv("IMAGEMILL_STORAGE", "s3")
    memory.setenv("IMAGEMILL_STORAGE_MEMORY_COLOR", "red")
    assert isinstance(open_store(), S3Store)


def test_what_a_backend_leaves_out_is_there() -> None:
    store = MemoryStore(MemorySettings(prefix="a"))
    store.check_write()
    assert list(store.objects()) == []
    for key in ("a/2", "a/1", "b"):
        store.put(key, b"here", "image/png")
    store.delete_many(["a/1", "b", "never there"])
    assert [each.key for each in store.objects()] == ["a/2"]
    for call in (store.retention_rule, store.remove_retention_rule, lambda: store.set_retention_rule(1)):
        with pytest.raises(NotSupported, match=r"^the white store "):
            call()


@pytest.mark.usefixtures("memory")
def test_client_uses_it() -> None:
    client = Client()
    assert isinstance(client.parts.store, MemoryStore)
    client.close()


@pytest.mark.usefixtures("memory")
def test_doctor_tries_it_and_calls_it_by_its_name() -> None:
    found = {each.check: each.state for each in check_store()}
    assert found == {
        "Memory dictionary": State.OK,
        "Memory write": State.OK,
        "Memory read": State.OK,
        "Memory link": State.INFORMATION,
        "Memory altered link": State.INFORMATION,
        "Memory delete": State.OK,
        "Memory uploaded files": State.OK,
    }


@pytest.mark.usefixtures("memory")
def test_doctor_warns_of_a_rule_that_deletes_uploaded_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "expiry_days", lambda _, key: 7 if key.startswith("inputs/") else None)
    (finding,) = (each for each in check_store() if each.check == "Memory uploaded files")
    assert (finding.state, "after 7 days" in finding.found) == (State.WARNING, True)


def test_doctor_tells_of_a_store_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_STORAGE", "s4")
    (finding,) = check_store()
    assert (finding.check, finding.state) == ("image store", State.FAILURE)
    assert finding.found.startswith("IMAGEMILL_STORAGE: ")

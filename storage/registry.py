"""
The stores that images can be kept in. A further one is a file or a folder in `storage.backends`, and a line here.

It is imported when it is chosen: most bring a library of their own. `IMAGEMILL_STORAGE` chooses, and a further one's
own settings are called `IMAGEMILL_STORAGE_{NAME}_…`, so that the other rooms leave them to this one.
"""

from __future__ import annotations

from pkgutil import resolve_name

from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.errors import StorageMisconfigured
from storage.settings import StorageSettings, names_set, read_fields, read_settings, refuse_unknown
from storage.store import Store

BACKENDS = {
    "s3": "storage.backends.s3.store:S3Store",
}
_SETTING = "IMAGEMILL_STORAGE"


class _Choice(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_", frozen=True, extra="ignore")

    storage: str = "s3"


def backend_of(name: str) -> type[Store]:
    """
    A backend by its name.

    Raises:
        StorageMisconfigured: There is none of that name.
    """
    if name not in BACKENDS:
        raise StorageMisconfigured(f"{_SETTING}: there is no store {name!r}; known are {', '.join(sorted(BACKENDS))}")
    backend: type[Store] = resolve_name(BACKENDS[name])
    return backend


def chosen_backend() -> type[Store]:
    """
    The backend that the environment chooses.

    Raises:
        StorageMisconfigured: There is none of that name, or an `IMAGEMILL_STORAGE*` name is unknown.
    """
    others = tuple(f"{_SETTING}_{name.upper()}_" for name in BACKENDS)  # Each backend refuses what it does not know.
    names = [name for name in names_set() if name.startswith(f"{_SETTING}_") and not name.startswith(others)]
    refuse_unknown(names, {_SETTING})
    return backend_of(read_fields(_Choice).storage)


def load_storage_settings() -> StorageSettings:
    """
    Read the settings of the chosen store from the environment.

    Raises:
        StorageMisconfigured: A value is out of bounds, or a name is unknown.
    """
    return read_settings(chosen_backend().settings_class)


def open_store(settings: StorageSettings | None = None) -> Store:
    """
    Open a store. Nothing is asked of it yet.

    Args:
        settings: They say which; read from the environment if None.

    Raises:
        StorageMisconfigured: The settings cannot be read, or cannot work.
    """
    settings = settings or load_storage_settings()
    return backend_of(settings.backend)(settings)

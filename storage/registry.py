"""
The stores that images can be kept in. A further one is a file or a folder in `storage.backends`, and a line here.

It is imported when it is chosen: most bring a library of their own. `IMAGEMILL_STORAGE` chooses, and a further one's
own settings are called `IMAGEMILL_STORAGE_{NAME}_…`, so that the other rooms leave them to this one.
"""

from __future__ import annotations

from pkgutil import resolve_name

from storage.errors import StorageMisconfigured
from storage.settings import Choice, StorageSettings, names_set, read_fields, read_settings, refuse_unknown
from storage.store import Store

BACKENDS = {
    "s3": "storage.backends.s3.store:S3Store",
}
_SETTING = "IMAGEMILL_STORAGE"


def backend_of(name: str) -> type[Store]:
    """
    A backend by its name.

    Raises:
        StorageMisconfigured: There is none of that name, or its library is not installed.
    """
    if name not in BACKENDS:
        raise StorageMisconfigured(
            f"{_SETTING}: there is no store {name!r}; the stores are {', '.join(sorted(BACKENDS))}"
        )
    try:
        backend: type[Store] = resolve_name(BACKENDS[name])
    except ImportError as exc:
        raise StorageMisconfigured(f"{_SETTING}: store {name!r} needs a package that is not installed: {exc}") from exc
    return backend


def chosen_backend() -> type[Store]:
    """
    The backend that the environment chooses.

    Raises:
        StorageMisconfigured: There is none of that name, or an `IMAGEMILL_STORAGE*` name is unknown.
    """
    name = read_fields(Choice).storage
    backend = backend_of(name)
    own = backend.settings_class  # Reading them refuses what has their prefix, and is none of them.
    others = tuple(f"{_SETTING}_{other.upper()}_" for other in BACKENDS if other != name)
    left_alone = (str(own.model_config["env_prefix"]), *others)
    names = [each for each in names_set() if each.startswith(f"{_SETTING}_") and not each.startswith(left_alone)]
    refuse_unknown(names, {_SETTING, *(own.variable(field) for field in own.model_fields)})
    return backend


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

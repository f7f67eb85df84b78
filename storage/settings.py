"""
What the settings of every store have, and how they are read: once, from environment variables.

As in `jobs.process.settings`, a file `imagemill_s3_secret_access_key` in `/run/secrets` or `$CREDENTIALS_DIRECTORY`
does, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from storage.errors import StorageMisconfigured
from storage.kubernetes import is_service_variable

Room = TypeVar("Room", bound=BaseSettings)


class _FromTheEnvironment(BaseSettings):
    """Frozen, and what Kubernetes sets is no setting, whatever its name."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Pydantic's, with an environment that has only what somebody set for us."""
        if isinstance(env_settings, EnvSettingsSource):
            found = env_settings.env_vars.items()
            env_settings.env_vars = {
                name: value for name, value in found if not is_service_variable(name.upper(), value or "")
            }
        return init_settings, env_settings, dotenv_settings, file_secret_settings


class Choice(_FromTheEnvironment):
    """Which store it is: a name in `storage.registry`."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_", extra="ignore")

    storage: str = "s3"
    """Its name."""


class StorageSettings(_FromTheEnvironment):
    """A store, whatever it is. A backend has its own class of them, with its `env_prefix`; this one is no store's."""

    backend: ClassVar[str]
    """Its name in `storage.registry`."""

    prefix: str = ""
    """Prefix of every key."""
    link_expiry_s: Annotated[int, Field(ge=1)] = 24 * 3600
    """How long a link works."""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """How long images are kept, counted from their upload; unset for ever."""

    def __init__(self, **fields: Any) -> None:
        if type(self) is StorageSettings:
            raise TypeError("StorageSettings are no store's own: use those of a backend, such as S3Settings")
        super().__init__(**fields)

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: Any) -> None:
        if not cls.model_config.get("env_prefix"):
            raise TypeError(f"{cls.__name__} needs an env_prefix: without one it reads variables of any program")

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config['env_prefix']}{field}".upper()


def read_settings(settings_class: type[Room]) -> Room:
    """
    Read settings from the environment, refusing names with their prefix that they do not have.

    Raises:
        StorageMisconfigured: A value is out of bounds, or a name with their prefix is unknown.
    """
    prefix = str(settings_class.model_config["env_prefix"])
    known = {f"{prefix}{name}".upper() for name in settings_class.model_fields}
    refuse_unknown([name for name in names_set() if name.startswith(prefix)], known)
    return read_fields(settings_class)


def read_fields(settings_class: type[Room]) -> Room:
    """
    The same, whatever else with their prefix is set.

    Raises:
        StorageMisconfigured: A value is out of bounds.
    """
    with _explained(str(settings_class.model_config["env_prefix"])):
        return settings_class(_secrets_dir=_secrets_folder())


def refuse_unknown(names: list[str], known: set[str]) -> None:
    """
    Compare the names that are set with those that there are.

    Raises:
        StorageMisconfigured: Names the first that is unknown.
    """
    if unknown := sorted(set(names) - known):
        raise StorageMisconfigured(f"{unknown[0]}: unknown setting; the settings are {', '.join(sorted(known))}")


def names_set() -> list[str]:
    """
    All names that somebody set for us, as variables or as files; none that Kubernetes set.

    Raises:
        StorageMisconfigured: The folder of the files cannot be read.
    """
    with _explained():
        secrets = _secrets_folder()
        own = (name for name, value in os.environ.items() if not is_service_variable(name, value))
        return [*own, *(file.name.upper() for file in (secrets.iterdir() if secrets else ()))]


@contextmanager
def _explained(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageMisconfigured(f"a file of settings cannot be read: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        field = "_".join(str(part) for part in first["loc"])
        raise StorageMisconfigured(f"{prefix}{field.upper()}: {first['msg']}") from exc


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))
    return folder if folder.is_dir() else None

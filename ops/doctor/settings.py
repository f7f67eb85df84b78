"""What the doctor needs to know beyond the settings of what it looks at, read from `IMAGEMILL_DOCTOR_*`."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from jobs.process.settings import RoomSettings, read_room


class DoctorSettings(RoomSettings):
    """The doctor."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_DOCTOR_", frozen=True, extra="ignore")

    flower_url: str | None = None
    """Flower's address; without it, the local stack's is tried."""


def load_doctor_settings() -> DoctorSettings:
    """
    Read the doctor's settings from the environment.

    Raises:
        InvalidConfiguration: An `IMAGEMILL_DOCTOR_*` name is unknown.
    """
    return read_room(DoctorSettings)

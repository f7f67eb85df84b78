"""How this worker runs, read once from `IMAGEMILL_WORKER_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.process.settings import RoomSettings, read_room


class WorkerSettings(RoomSettings):
    """A worker."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_WORKER_", frozen=True, extra="ignore")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=100)] = ""
    """Its name in lists and logs, followed by an id of each start; empty for the host's name."""
    models: str = ""
    """Names to serve, separated by commas; empty for all of the catalogue."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run: `auto` takes a GPU where there is one."""
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes, each with an engine and the models. On a GPU, one. On a CPU, a small model makes more
    pictures with one for each core: threads that compute a pass together wait for each other."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Jobs in hand at a time, of each process; unset, what its engine was measured to take, and a few
    with."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of torch, of each process; 0 leaves it to torch, or divides the processors among several."""
    embedding_cache_mib: Annotated[int, Field(ge=0)] = 256
    """Memory for embeddings of prompts that may come again, for each model, in MiB."""
    cache_dir: Path = Path("~/.cache/imagemill").expanduser()
    """Where measured batch sizes are kept from start to start."""
    spool_dir: Path | None = None
    """Where finished images wait while the store is away; unset, `spool` in `cache_dir`."""
    spool_mib: Annotated[int, Field(ge=0)] = 1024
    """How much may wait there, in MiB."""
    postprocess_mib: Annotated[int, Field(ge=16)] = 1024
    """Memory that files of pictures may take while they are made and stored, all jobs together, in MiB."""
    inputs_mib: Annotated[int, Field(ge=16)] = 1024
    """Memory that the inputs of jobs may take while they are fetched, opened and edited, all jobs together, in MiB."""
    grace_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """On SIGTERM, how many seconds running jobs may take to finish; the others go back to the queue at once."""
    hang_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """A call of the device may take so many seconds, or ten times what was measured, before the worker gives up."""

    @property
    def spool_root(self) -> Path:
        """Where the spools of this machine's workers are."""
        return self.spool_dir or self.cache_dir / "spool"

    def served(self, catalogue: Catalogue) -> list[str]:
        """The models to serve. Raises `InvalidConfiguration` for one that is not in the catalogue."""
        names = [name.strip() for name in self.models.split(",") if name.strip()] or list(catalogue.models)
        for name in names:
            if name not in catalogue.models:
                raise InvalidConfiguration(
                    f"IMAGEMILL_WORKER_MODELS: there is no model {name!r}; there are {', '.join(catalogue.models)}"
                )
        return names


def load_worker_settings() -> WorkerSettings:
    """Read the settings from the environment. Raises `InvalidConfiguration`."""
    return read_room(WorkerSettings)

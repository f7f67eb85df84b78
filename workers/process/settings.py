"""How this worker runs, read once from `IMAGEMILL_WORKER_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath
from pydantic_settings import SettingsConfigDict

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.process.settings import RoomSettings, read_room
from workers.runners.signing import Algorithm, Certificate


class WorkerSettings(RoomSettings):
    """A worker."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_WORKER_", frozen=True, extra="ignore")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=100)] = ""
    """Its name in lists and logs, followed by an id of each start; empty for the host's name."""
    models: str = ""
    """Names to serve, separated by commas; empty for all of the catalogue."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run: `auto` takes a GPU where there is one."""
    devices: str = "all"
    """GPUs that have a process each: `all`, or their numbers as `nvidia-smi -L` has them, e.g. `0,1`, or `0:1` for the
    second part of a divided one; `cpu` for none."""
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes, each with an engine and the models; of each device. On a GPU, one. On a CPU, a small model
    makes more pictures with one for each core: threads that compute a pass together wait for each other."""
    models_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """What models may take of each process's device together, in GB (10⁹ bytes), each as much as `memory_gb` of its
    entry says; those that do not fit are loaded when jobs wait for them, in the place of others. Unset, three quarters
    of a GPU's memory; on a CPU, and where an entry does not say what it takes, all models are loaded at the start."""
    pinned: str = ""
    """Models that are loaded at the start and stay, separated by commas, where others make room for each other."""
    unload_idle_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """After how many seconds without a job a model that is not pinned gives its memory back; unset, when another one
    needs it."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Jobs in hand at a time, of each process; unset, what its engine was measured to take, and a few
    with."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of torch, of each process; 0 leaves it to torch, or divides the processors among several."""
    embedding_cache_mib: Annotated[int, Field(ge=0)] = 256
    """Memory for embeddings of prompts that may come again, for each model, in MiB."""
    cache_dir: Path = Path("~/.cache/imagemill").expanduser()
    """Where measured batch sizes are kept from start to start."""
    model_cache_dir: Path | None = None
    """Where models from a store (`s3://…`) are copied to, shared by all workers of the machine; unset, `models` in
    `cache_dir`."""
    model_cache_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 200.0
    """How much may lie there, in GB (10⁹ bytes): what was used least recently goes first, but nothing that is in
    use."""
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

    c2pa_certificate_file: FilePath | None = None
    """Certificate (PEM, followed by those between it and its root) that pictures are signed with, as C2PA has it;
    unset, they are not signed. See docs/provenance.md."""
    c2pa_key_file: FilePath | None = None
    """Its key (PEM, PKCS #8)."""
    c2pa_algorithm: Algorithm = "es256"
    """What the key signs by."""
    c2pa_timestamp_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Timestamp authority (RFC 3161) that is asked for the time of each signature; unset, none is."""

    @property
    def certificate(self) -> Certificate | None:
        """What pictures are signed with. Raises `InvalidConfiguration` where only a part of it is set."""
        if self.c2pa_certificate_file is not None and self.c2pa_key_file is not None:
            return Certificate(
                certificate_file=self.c2pa_certificate_file,
                key_file=self.c2pa_key_file,
                algorithm=self.c2pa_algorithm,
                timestamp_url=self.c2pa_timestamp_url,
            )
        if given := sorted(name for name in self.model_fields_set if name.startswith("c2pa_")):
            missing = "c2pa_certificate_file" if self.c2pa_certificate_file is None else "c2pa_key_file"
            prefix = "IMAGEMILL_WORKER_"
            raise InvalidConfiguration(
                f"{prefix}{given[0].upper()}: goes with {prefix}{missing.upper()}, which is not set"
            )
        return None

    def pinned_models(self, catalogue: Catalogue) -> list[str]:
        """Those that stay loaded. Raises `InvalidConfiguration` for one that is not among those to serve."""
        names, served = _listed(self.pinned), self.served(catalogue)
        for name in names:
            if name not in served:
                raise InvalidConfiguration(
                    f"IMAGEMILL_WORKER_PINNED: this worker does not serve {name!r}; it serves {', '.join(served)}"
                )
        return names

    @property
    def model_cache_root(self) -> Path:
        """Where models from a store are copied to."""
        return self.model_cache_dir or self.cache_dir / "models"

    @property
    def spool_root(self) -> Path:
        """Where the spools of this machine's workers are."""
        return self.spool_dir or self.cache_dir / "spool"

    def served(self, catalogue: Catalogue) -> list[str]:
        """The models to serve. Raises `InvalidConfiguration` for one that is not in the catalogue."""
        names = _listed(self.models) or list(catalogue.models)
        for name in names:
            if name not in catalogue.models:
                raise InvalidConfiguration(
                    f"IMAGEMILL_WORKER_MODELS: there is no model {name!r}; there are {', '.join(catalogue.models)}"
                )
        return names


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def load_worker_settings() -> WorkerSettings:
    """Read the settings from the environment. Raises `InvalidConfiguration`."""
    return read_room(WorkerSettings)

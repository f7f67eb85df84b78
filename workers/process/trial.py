"""
`python -m workers.process.trial MODEL …`: loads models as a worker does, one after the other, and says why one is not.

For `./imagemill models check --load`, whose own process imports no torch. They are loaded on the processor, for a GPU
may be full of what workers have loaded; an entry's dtype and quantization are kept. A line of JSON for each:
`{"model": …, "fault": null}`, or why it is not loaded.
"""

from __future__ import annotations

import json
import logging
import sys

import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.process.settings import load_settings
from storage.errors import StorageError
from workers.process.loader import load_checked
from workers.process.logs import configure_logging
from workers.process.settings import WorkerSettings, load_worker_settings


def fault_of(catalogue: Catalogue, name: str, settings: WorkerSettings) -> str | None:
    """Why a worker on a processor would not start with a model; None where it would."""
    try:
        load_checked(catalogue, name, torch.device("cpu"), settings)
    except (InvalidConfiguration, StorageError) as exc:
        return str(exc)
    return None


def main() -> None:
    """Try the models that the command line names; Ctrl-C ends it."""
    configure_logging(logging.ERROR)
    catalogue, settings = Catalogue.read(load_settings().models_file), load_worker_settings()
    for name in sys.argv[1:]:
        fault = fault_of(catalogue, name, settings)
        sys.stdout.write(json.dumps({"model": name, "fault": fault}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

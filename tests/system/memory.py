"""Runs jobs of the built-in model, all different, and prints the process' resident bytes after each hundred."""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path

import structlog
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.kinds.generate import spec_of
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.ticket import Ticket
from workers.loading.models import load_model
from workers.process.allocator import keep_freed_memory
from workers.runners.postprocess import Pixels, postprocess

_PAGE_BYTES = 4096
_IN_FLIGHT = 16
_CACHE_BYTES = 2 << 20  # Of prompt embeddings, 16 KiB each: full before memory is first looked at, as any is some day.
_COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")


def make_files(ticket: Ticket[list[Pixels]], entry: Model) -> None:
    """Postprocess its images, as an attempt does."""
    for index, pixels in enumerate(ticket.result()):
        postprocess(pixels, ticket.work, entry, index)


def main(jobs: int, folder: Path) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    keep_freed_memory()  # As a worker has it.
    catalogue = Catalogue.read(Path(__file__).resolve().parents[2] / "models.toml")
    entry = catalogue.models["shapes"]
    adapter = load_model(catalogue, entry, torch.device("cpu"), _CACHE_BYTES)
    engine = Engine({entry.name: adapter}, Capacity(folder / "sizes.json"))
    engine.start(lambda: torch.set_num_threads(1))
    open_tickets: deque[Ticket[list[Pixels]]] = deque()
    resident = []
    for index in range(jobs):
        request = {
            "model": entry.name,
            "prompt": f"a {_COLOURS[index % 6]} circle {index}",
            "width": 64,
            "height": 64,
            "seed": index,
            "num_inference_steps": 1 + index % 3,
            "guidance_scale": 1.0 + index % 2,
            "scheduler": entry.schedulers[index % len(entry.schedulers)],
            "n": 2 if index % 10 == 0 else 1,
        }
        open_tickets.append(engine.submit(entry.name, spec_of(request, catalogue)))
        if len(open_tickets) == _IN_FLIGHT:
            ticket = open_tickets.popleft()
            make_files(ticket, entry)
        if index % 100 == 99:
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES)
    for ticket in open_tickets:
        make_files(ticket, entry)
    engine.stop()
    sys.stdout.write(json.dumps(resident) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

"""
How Flower shows jobs: `flower --conf=ops/flower_config.py`. It runs this file, and takes what has an option's name.

Where it listens, where it keeps what it saw, and who may look stand where it is started; the last in
`FLOWER_BASIC_AUTH`, which no list of processes shows.
"""

from __future__ import annotations

from typing import Any

# A job's line (model, size, steps, first words of the prompt) is in `args`. Together they fit into 1600 pixels.
tasks_columns = "args,state,received,runtime,worker,uuid"

# Each start of a worker has a new name: without a purge, the list of workers only grows.
purge_offline_workers = 300

# Of the last jobs, about 6 KB of memory each (measured): with its own 100,000 that is 600 MB.
max_tasks = 10_000


def format_task(task: Any) -> Any:
    """A message from outside has its request in keyword arguments: show it where our own jobs have their line."""
    if task.args in (None, "", "()"):
        task.args = task.kwargs
    return task

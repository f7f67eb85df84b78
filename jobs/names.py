"""Every name that crosses a wire: Redis keys, queues, tasks, channels. `scripts/lib.lua` builds the same keys."""

from __future__ import annotations

import re

SCHEMA_VERSION = 1

KEY_PREFIX = "imagemill"
QUEUES = f"{KEY_PREFIX}:queues"  # set: every queue that ever had a job
CANCEL_CHANNEL = f"{KEY_PREFIX}:cancel"  # pub/sub: ids of running jobs to be canceled
QUIET_CHANNEL = f"{KEY_PREFIX}:quiet"  # pub/sub: nothing, ever; keeps a subscription open while nobody waits for a job

RECONCILER = f"{KEY_PREFIX}:reconciler"  # string with expiry: which process puts things right at the moment
DEAD = f"{KEY_PREFIX}:dead"  # sorted set: jobs that failed with worker_lost, by the time of their end (s)
WORKERS = f"{KEY_PREFIX}:workers"  # set: names of workers that said something of themselves; some may be gone
PAUSED = f"{KEY_PREFIX}:paused"  # set: queues that hand out no jobs
JOBS = f"{KEY_PREFIX}:jobs"  # sorted set: all jobs, in the order of their submission
EXPIRING = f"{KEY_PREFIX}:expiring"  # sorted set: ended jobs, each with its caller, by when their records expire (s)

API_KEYS = f"{KEY_PREFIX}:api_keys"  # hash: name of each API key that there ever was → its record
API_KEY_NAMES = f"{KEY_PREFIX}:api_key_names"  # hash: SHA-256 of each valid API key → its name
API_RATES = f"{KEY_PREFIX}:api_rates"  # prefix of lists with expiry: when each API key was used, for its rate limit

GENERATE_TASK = "imagemill.generate"  # from anybody who has Celery: the request as keyword arguments
RUN_TASK = "imagemill.run"  # from the job table: look at the job whose id is the task's

_QUEUE_PREFIX = "gpu."
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def queue_of(model: str) -> str:
    """The Celery queue of a model's jobs."""
    return f"{_QUEUE_PREFIX}{model}"


def model_of(queue: str) -> str | None:
    """The model of a queue; None for a queue that is not ours."""
    return queue.removeprefix(_QUEUE_PREFIX) if queue.startswith(_QUEUE_PREFIX) else None


def is_job_id(text: str) -> bool:
    """Whether a job may have this id: it goes into Redis keys and object keys."""
    return _JOB_ID.fullmatch(text) is not None


def worker_key(name: str) -> str:
    """String with expiry: what a worker says of itself."""
    return f"{KEY_PREFIX}:worker:{name}"


def job_key(job_id: str) -> str:
    """Hash: the job's record."""
    return f"{KEY_PREFIX}:job:{job_id}"


def events_key(job_id: str) -> str:
    """Stream: the job's events."""
    return f"{KEY_PREFIX}:events:{job_id}"


def news_channel(job_id: str) -> str:
    """Pub/sub: each event of a job when it goes into the stream: entry id, type and data, separated by spaces."""
    return f"{KEY_PREFIX}:news:{job_id}"


def callers_key(queue: str) -> str:
    """Set: callers who have jobs that wait for their release; others may still be in it until their next one begins."""
    return f"{KEY_PREFIX}:callers:{queue}"


def waiting_key(queue: str, caller: str) -> str:
    """Sorted set: jobs not yet released to Celery, by priority and then by turn."""
    return f"{KEY_PREFIX}:waiting:{queue}:{caller}"


def queued_key(queue: str) -> str:
    """Sorted set: all jobs of a queue that have not begun, waiting and released, by priority and then by turn."""
    return f"{KEY_PREFIX}:queued:{queue}"


def figures_key(queue: str) -> str:
    """Hash: how often things happened in a queue, for ever: `submitted`, each end, `failed:CODE`, `lapsed`."""
    return f"{KEY_PREFIX}:figures:{queue}"


def turns_key(queue: str, caller: str) -> str:
    """
    Sorted set: jobs of one caller that are released and not claimed, at most the release window; by priority and then
    by turn, and behind them those that were called up before their turn. (Before 0.1.0 it was the set `window:…`.)
    """
    return f"{KEY_PREFIX}:turns:{queue}:{caller}"


def released_key(queue: str) -> str:
    """Sorted set: released and unclaimed jobs, by when to look for their message (s). The reconciler's work list."""
    return f"{KEY_PREFIX}:released:{queue}"


def batch_key(batch_id: str) -> str:
    """Hash: a batch's caller, and how many of its jobs have each status."""
    return f"{KEY_PREFIX}:batch:{batch_id}"


def batch_jobs_key(batch_id: str) -> str:
    """Sorted set: the jobs of a batch, by line."""
    return f"{KEY_PREFIX}:batch_jobs:{batch_id}"


def batch_refused_key(batch_id: str) -> str:
    """Bits: lines of a batch that were refused."""
    return f"{KEY_PREFIX}:batch_refused:{batch_id}"


def line_key(queue: str) -> str:
    """Sorted set: released and unclaimed jobs in the order in which their messages are taken."""
    return f"{KEY_PREFIX}:line:{queue}"


def jobs_key(caller: str) -> str:
    """Sorted set: jobs of one caller, in the order of their submission."""
    return f"{JOBS}:{caller}"


def pace_key(queue: str) -> str:
    """Hash: how fast jobs of a queue end while others wait."""
    return f"{KEY_PREFIX}:pace:{queue}"


def running_key(queue: str) -> str:
    """Sorted set: claimed jobs, by the end of their lease (s). The reconciler's work list."""
    return f"{KEY_PREFIX}:running:{queue}"

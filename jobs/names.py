"""
Every name that crosses a wire: Redis keys and channels, queues, tasks.

A name of Redis is declared once, here. Scripts have the same ones as `key.NAME` and `channel.NAME`: a text, or a
function of the same parts. `jobs/scripts/preamble.py` writes those down from `REDIS_NAMES`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

# Of the records. It rises where a worker that does not know the difference would do something wrong, and not for an
# optional field: that one is in the record only where it is used, and a worker refuses what it does not know.
SCHEMA_VERSION = 2
FIRST_KIND = "generate"  # Of records that name none: they have the first schema, as the first version wrote it.
# Of the reconciler: its number goes before the name by which a process holds the lock. It rises where an older one
# would leave undone what this one does; a process of this version takes the lock from such a one.
RECONCILER_VERSION = 3

KEY_PREFIX = "imagemill"
KEPT_UNIT = 256  # bytes, in which it is counted what the jobs of a caller take of Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisName:
    """
    A name, or a family of names that differ in their parts.

    Attributes:
        lua: What scripts call it.
        start: What all of the family begin with; the whole name, where it has no parts.
        parts: What follows, behind a colon each.
        is_channel: Of a pub/sub channel; else of a key.
    """

    lua: str
    start: str
    parts: tuple[str, ...] = ()
    is_channel: bool = False

    def build(self, *parts: str) -> str:
        """The name with these parts, as many as it has."""
        return ":".join((self.start, *parts))


REDIS_NAMES: list[RedisName] = []  # All that are declared below.


def _declare(name: str, *parts: str, lua: str = "", is_channel: bool = False) -> RedisName:
    declared = RedisName(lua=lua or name, start=f"{KEY_PREFIX}:{name}", parts=parts, is_channel=is_channel)
    REDIS_NAMES.append(declared)
    return declared


def _name(name: str, *, is_channel: bool = False) -> str:
    return _declare(name, is_channel=is_channel).build()


def _by_one(name: str, part: str, *, lua: str = "", is_channel: bool = False) -> Callable[[str], str]:
    return _declare(name, part, lua=lua, is_channel=is_channel).build


def _by_two(name: str, first: str, second: str) -> Callable[[str, str], str]:
    return _declare(name, first, second).build


# One job.
job_key = _by_one("job", "job_id")  # hash: the job's record; its fields are those of jobs/scripts/fields.py
events_key = _by_one("events", "job_id")  # stream: the job's events
# pub/sub: each event of a job when it goes into the stream: entry id, type and data, separated by spaces
news_channel = _by_one("news", "job_id", is_channel=True)
idempotency_key = _by_two("idempotency", "caller", "idempotency_key")  # string: the job that was submitted with it

# Jobs that have not begun. Sets that are ordered "by turn" have the jobs of a better priority first.
QUEUES = _name("queues")  # set: every queue that ever had a job
PAUSED = _name("paused")  # set: queues that hand out no jobs
# set: callers who have jobs that wait for their release. Processes without turns know them from here, and of those that
# these let wait the reconciler learns here
callers_key = _by_one("callers", "queue")
# sorted set: the same callers, in the order of their turns: by how much of the device they had (see `jobs.submit`), and
# before these, with a negative rank, those that have had none lately, in the order of their coming
shares_key = _by_one("shares", "queue")
gone_key = _by_one("gone", "queue")  # sorted set: callers of whom nothing waits any more, by what they had
# hash: what the caller had had whose turn was the last (`had`); how many first jobs of others were released since
# (`firsts`); and how many of callers with a single one, since one of a caller with more was (`alone`)
front_key = _by_one("front", "queue")
slots_key = _by_one(
    "slots", "queue"
)  # hash: by worker, how many jobs it takes at a time, and until when that holds (s)
# string with expiry: the sum of these, of living workers, and 1 behind a blank where the queue is paused, else 0
state_key = _by_one("state", "queue")
capacity_key = _by_one("capacity", "queue")  # string with expiry: the sum alone, as the version before keeps it
waiting_key = _by_two("waiting", "queue", "caller")  # sorted set: jobs not yet released to Celery, by turn
# sorted set: jobs of one caller that are released and not claimed; by turn, and behind them those that were called up
# before their turn
turns_key = _by_two("turns", "queue", "caller")
window_key = _by_two("window", "queue", "caller")  # set: the same before 0.1.0; the reconciler moves what stands in it
queued_key = _by_one("queued", "queue")  # sorted set: all jobs of a queue that have not begun and may, by turn
line_key = _by_one("line", "queue")  # sorted set: released and unclaimed jobs, in the order in which they are taken
# sorted set: released and unclaimed jobs, by when to look for their message (s); the reconciler's work list
released_key = _by_one("released", "queue")
later_key = _by_one(
    "later", "queue"
)  # sorted set: jobs that are not to begin yet, by when they may (s); a work list, too
later_of_key = _by_two("later_of", "queue", "caller")  # set: those of one caller among them
later_by_key = _by_two("later_by", "queue", "caller")  # sorted set: the same, by when they may begin (s)
# sorted set: callers of such jobs, by when the first of theirs may begin, or since when it waits behind others' (s)
later_callers_key = _by_one("later_callers", "queue")
DEADLINES = _name("deadlines")  # sorted set: waiting jobs, by when they expire (s); the reconciler's work list
deadlines_by_key = _by_one("deadlines_by", "caller")  # sorted set: the same jobs of one caller, by when they expire (s)
# sorted set: callers of such jobs, by when the first of theirs expires, or since when it waits behind others' (s)
DEADLINE_CALLERS = _name("deadline_callers")
TURN = _name("turn")  # string: the last number that was given, of turns, submissions and releases

# Jobs that have begun.
running_key = _by_one("running", "queue")  # sorted set: claimed jobs, by the end of their lease (s); as `released`
DEAD = _name("dead")  # sorted set: jobs that failed with worker_lost, by the time of their end (s)
EXPIRING = _name(
    "expiring"
)  # sorted set: ended jobs and batches, each with its caller, by when their records expire (s)
CANCEL_CHANNEL = _name("cancel", is_channel=True)  # pub/sub: ids of running jobs to be canceled
watched_channel = _by_one("watched", "owner", is_channel=True)  # pub/sub: ids of its jobs that somebody reads

# All jobs.
JOBS = _name("jobs")  # sorted set: everybody's jobs, in the order of their submission
jobs_key = _by_one("jobs", "caller", lua="jobs_of")  # sorted set: jobs of one caller, in the order of their submission
# sorted set: what is counted of a caller: batches that go on, then what has ended, jobs and batches, by when that was;
# and in the same number what it takes of Redis, in units of `KEPT_UNIT`. Of a job that goes on its record says it
kept_key = _by_one("kept", "caller")
KEPT_UNITS = _name("kept_units")  # hash: by caller, the sum of all these units
batch_key = _by_one("batch", "batch_id")  # hash: a batch's caller, and how many of its jobs have each status
batch_jobs_key = _by_one("batch_jobs", "batch_id")  # sorted set: the jobs of a batch, by line
CANCELING = _name("canceling")  # sorted set: canceled batches with jobs still to be canceled, by since when (s)
batch_refused_key = _by_one("batch_refused", "batch_id")  # bits: lines of a batch that were refused
# hash: how often things happened in a queue, for ever: `submitted`, `adopted`, `refused`,
# each end, `failed:CODE`, `lapsed`
figures_key = _by_one("figures", "queue")
pace_key = _by_one("pace", "queue")  # hash: how fast jobs of a queue end while others wait

# Files that callers have uploaded.
file_key = _by_one("file", "file_id")  # hash: the file's record; its fields are those of `jobs.inputs.files`
# sorted set: jobs that were submitted with it, by when that was (s); those that have ended are taken off in passing
file_jobs_key = _by_one("file_jobs", "file_id")
FILES = _name("files")  # sorted set: everybody's files, in the order of their upload
files_key = _by_one("files", "caller", lua="files_of")  # sorted set: those of one caller
files_for_key = _by_two("files_for", "caller", "purpose")  # sorted set: those of one caller for one purpose
file_hashes_key = _by_one("file_hashes", "caller")  # hash: by purpose and SHA-256, the caller's file of such bytes
FILE_BYTES = _name("file_bytes")  # hash: by caller, how much its files count
FILE_EXPIRY = _name("file_expiry")  # sorted set: files, by when to look whether they may go (s); the sweep's work list
# sorted set: uploads that have begun and not ended, by when their process is taken for dead (s); likewise
FILES_BEGUN = _name("files_begun")
FILE_SWEEP = _name("file_sweep")  # string with expiry: which process deletes files at the moment

# Messages from outside that somebody has in hand, until a job is made of them, or they are refused.
HELD = _name("held")  # hash: by tag, the list that a message came through, and the message behind a line feed
HELD_UNTIL = _name("held_until")  # sorted set: tags, by when they are handed out again (s)
# string with expiry: how often a message was handed out again, because nobody said what became of it
takings_key = _by_one("takings", "tag")

tombstone_key = _by_one("tombstone", "job_id")  # string with expiry: one that was canceled before its message came
# sorted set with expiry: ids that a caller with a key canceled before they came, by until when that holds (s)
tombstones_key = _by_one("tombstones", "caller")

# Notifications of finished jobs: the outbox of each protocol. Stored names (keys, fields of records) that say "tell" or
# "told" where the code says notify stay as they are: processes of the previous version may use them, too.
outbox_key = _by_one("outbox", "protocol")  # sorted set: ids of jobs, by when to notify (s)
# hash: by job, the token of the notifier that has its notice in hand
notifiers_key = _by_one("tellers", "protocol", lua="notifiers")
tries_key = _by_one("tries", "protocol")  # hash: by job, how often its notification failed
# sorted set: ids of jobs whose notice was given up, by when that was (s)
given_up_key = _by_one("untold", "protocol", lua="given_up")
late_key = _by_one("late", "protocol")  # sorted set: jobs whose notification failed so far, by their end (s)
# hash: how often notices were delivered (`told`), put off (`later`), `given_up`
notifications_key = _by_one("tellings", "protocol", lua="notifications")
# string with expiry, JSON: what was handed out under a token, should it be asked again
taken_key = _by_one("taken", "token")
ENDS = _name("ends")  # stream: each job that ended, with its status, queue and caller

# Jobs whose results are deleted: what they left is looked for in the store, and where else it may stand.
DELETIONS = _name("deletions")  # sorted set: ids of jobs, by when to look again (s); a work list
DELETION_NOTES = _name("deletion_notes")  # hash: by job, JSON of what to look for; their records may be gone by then

# The system.
RECONCILER = _name("reconciler")  # string with expiry: which process puts things right at the moment
SERVER = _name("server")  # hash: which Redis the reconciler saw last, and until when it leaves leases alone
# string with expiry, JSON: lists that are named as those of Celery's queues of jobs, as far as there were any lately
LISTS = _name("lists")
WORKERS = _name("workers")  # set: names of workers that said something of themselves; some may be gone
loading_key = _by_one("loading", "model")  # string with expiry: the worker that loads a model because jobs wait for it
worker_key = _by_one("worker", "name")  # string with expiry: what a worker says of itself
QUIET_CHANNEL = _name("quiet", is_channel=True)  # pub/sub: nothing, ever; keeps a subscription open while nobody waits

API_KEYS = _name("api_keys")  # hash: name of each API key that there ever was → its record
API_KEY_NAMES = _name("api_key_names")  # hash: SHA-256 of each valid API key → its name
API_RATES = _name("api_rates")  # prefix of lists with expiry: when each API key was used, for its rate limit

_TASK_PREFIX = "imagemill."
# From anybody who has Celery: the request as keyword arguments. Any kind of job has its own, by the kind's name.
GENERATE_TASK = "imagemill.generate"
RUN_TASK = "imagemill.run"  # from the job table: look at the job whose id is the task's

_QUEUE_PREFIX = "gpu."
_ANY_PREFIX = "any."
_LINES = {_QUEUE_PREFIX: "run.", _ANY_PREFIX: "runs."}  # what begins the name of a queue's line
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def kind_of_task(task: str) -> str | None:
    """The kind of job that a task asks for, be there such a kind or not; None for a task that is none of ours."""
    return task.removeprefix(_TASK_PREFIX) if task.startswith(_TASK_PREFIX) else None


def queue_of(model: str) -> str:
    """The Celery queue of a model's jobs."""
    return f"{_QUEUE_PREFIX}{model}"


def queue_of_kind(kind: str) -> str:
    """The Celery queue of a kind of job that needs no model."""
    return f"{_ANY_PREFIX}{kind}"


def line_of(queue: str) -> str:
    """
    The Celery queue for the table's own messages of jobs of a queue. What others send stands in the queue itself.

    Raises:
        ValueError: The queue is none of ours.
    """
    for prefix, line in _LINES.items():
        if queue.startswith(prefix):
            return f"{line}{queue.removeprefix(prefix)}"
    raise ValueError(f"{queue!r} is no queue of jobs")


def queue_of_line(line: str) -> str | None:
    """The queue of jobs whose line a Celery queue is; None for one that is no line."""
    for prefix, start in _LINES.items():
        if line.startswith(start):
            return f"{prefix}{line.removeprefix(start)}"
    return None


def model_of(queue: str) -> str | None:
    """The model of a queue; None for a queue that is not ours."""
    return queue.removeprefix(_QUEUE_PREFIX) if queue.startswith(_QUEUE_PREFIX) else None


def kind_of(queue: str) -> str:
    """The kind of job of a queue of one that needs no model."""
    return queue.removeprefix(_ANY_PREFIX)


def is_queue(name: str) -> bool:
    """Whether a Celery queue has a name like those of our queues and lines, whether or not it is one."""
    return name.startswith((*_LINES, *_LINES.values()))


def is_job_id(text: str) -> bool:
    """Whether a job may have this id: it goes into Redis keys and object keys."""
    return _JOB_ID.fullmatch(text) is not None


def job_id_of(task_id: str) -> str:
    """The id of the job that a task is, or is refused as: its own; where that is no job's, one that follows from it."""
    if is_job_id(task_id):
        return task_id
    return f"refused-{hashlib.sha256(task_id.encode(errors='surrogatepass')).hexdigest()[:32]}"

"""Messages in Celery's lists of our queues, or of queues named like ours: whether a worker receives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import redis

from jobs import names
from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from jobs.fleet.backlog import ListBacklog, find_backlog, nobody_takes
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.kinds.registry import queues_for
from jobs.process.settings import Settings, load_settings
from ops.doctor.finding import Finding, State, attempt_all, unchecked
from ops.doctor.redis import open_once, reach

MESSAGES = "messages"


def check_messages() -> list[Finding]:
    """Check the messages in the lists."""
    return attempt_all(MESSAGES, _check)


def _check() -> list[Finding]:
    settings = load_settings()
    with open_once(settings) as client:
        if reach(client, settings).state is not State.OK:
            return unchecked([MESSAGES], "Redis cannot be reached")
        return _judge(client, settings)


def _judge(client: redis.Redis, settings: Settings) -> list[Finding]:
    try:
        known = queues_for(Catalogue.read(settings.models_file).models)
    except InvalidConfiguration:  # Another check reports it.
        known = []
    return judge_messages(find_backlog(client, settings), Fleet(client, settings).workers(), known)


def judge_messages(
    backlog: Sequence[ListBacklog], workers: Sequence[WorkerReport], known: Sequence[str]
) -> list[Finding]:
    """
    A finding for each list from which nobody takes, or one that there is none.

    Args:
        known: Queues of the catalogue's models, and of kinds without one.
    """
    stuck = nobody_takes(backlog, workers)
    if stuck:
        return [_judge_list(each, workers, known) for each in stuck]
    counts: Counter[str] = Counter()
    for each in backlog:
        counts[each.queue] += each.messages
    counted = ", ".join(f"{count:,} in {queue}" for queue, count in counts.items()) or "none"
    return [Finding(check=MESSAGES, state=State.OK, found=f"{counted}; every list has a worker that receives from it")]


def _judge_list(backlog: ListBacklog, workers: Sequence[WorkerReport], known: Sequence[str]) -> Finding:
    which = "of another form than kombu's" if backlog.priority is None else f"of priority {backlog.priority}"
    count = f"{backlog.messages:,} message{'' if backlog.messages == 1 else 's'}"
    found = f"{count} in its list {which}, and no worker receives from it"
    thrown_away = f"To delete them: redis-cli -u URL DEL {_for_a_shell(backlog.key)}."
    return Finding(
        check=f"{MESSAGES} in {_shown(backlog.key)}",
        state=State.FAILURE,
        found=found,
        advice=f"{_advice(backlog, workers, known)} {thrown_away}",
    )


def _advice(backlog: ListBacklog, workers: Sequence[WorkerReport], known: Sequence[str]) -> str:
    queue = backlog.of_jobs
    model = names.model_of(queue)
    if known and queue not in known:
        return f"Let their sender use an existing queue: {', '.join(known)}."
    if any(queue in each.detached for each in workers):
        return f"Let a worker receive jobs of {queue} again; see the finding about that worker."
    if not any(each.serves(queue) or each.makes_jobs_for(queue) for each in workers):
        return f"Start a worker: ./imagemill worker{f' --model {model}' if model else ''}."
    if backlog.is_line:
        return f"Only Imagemill itself sends there, and not to this list: let their sender use the queue {queue}."
    if backlog.priority is None:
        return f"No version reads such a list: let their sender use the priorities 0 to 9 of the queue {queue}."
    return f"Restart the workers that serve {queue}: workers of this version receive all messages sent there."


def _shown(key: str) -> str:
    """Without control characters, which kombu puts before a priority."""
    return "".join(each if each.isprintable() else "·" for each in key)


def _for_a_shell(key: str) -> str:
    if key.isprintable():
        return key
    escaped = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in key)
    return f"\"$(printf '{escaped}')\""

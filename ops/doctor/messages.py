"""Messages in Celery's lists, of whatever queue that is named as ours are: whether anybody takes what stands there."""

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
    """All that is to be known of what stands in the lists."""
    return attempt_all(MESSAGES, _check)


def _check() -> list[Finding]:
    settings = load_settings()
    with open_once(settings) as client:
        if reach(client, settings).state is not State.OK:
            return unchecked([MESSAGES], "Redis cannot be asked")
        return _judge(client, settings)


def _judge(client: redis.Redis, settings: Settings) -> list[Finding]:
    try:
        known = queues_for(Catalogue.read(settings.models_file).models)
    except InvalidConfiguration:  # Told of by another check.
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
    return [Finding(check=MESSAGES, state=State.OK, found=f"{counted}; no list has any that nobody takes")]


def _judge_list(backlog: ListBacklog, workers: Sequence[WorkerReport], known: Sequence[str]) -> Finding:
    which = "of another form than kombu's" if backlog.priority is None else f"of priority {backlog.priority}"
    count = f"{backlog.messages:,} message{'' if backlog.messages == 1 else 's'}"
    found = f"{count} in its list {which}, from which nobody takes any"
    thrown_away = f"To throw them away: redis-cli -u URL DEL {_for_a_shell(backlog.key)}."
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
        return f"Have their sender name a queue that there is: {', '.join(known)}."
    if any(queue in each.detached for each in workers):
        return f"Have a worker take jobs of {queue} again, as is said of that worker."
    if not any(each.serves(queue) or each.makes_jobs_for(queue) for each in workers):
        return f"Start a worker: ./imagemill worker{f' --model {model}' if model else ''}."
    if backlog.is_line:
        return f"The table alone sends there, and not to this list: have their sender name the queue {queue}."
    if backlog.priority is None:
        return f"No version reads such a list: have their sender use the priorities 0 to 9 of the queue {queue}."
    return f"Restart the workers that serve {queue}: those of this version take all that is sent there."


def _shown(key: str) -> str:
    """Without control characters, which kombu puts before a priority."""
    return "".join(each if each.isprintable() else "·" for each in key)


def _for_a_shell(key: str) -> str:
    if key.isprintable():
        return key
    escaped = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in key)
    return f"\"$(printf '{escaped}')\""

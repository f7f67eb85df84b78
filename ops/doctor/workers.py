"""The workers, and whether there is one for each queue that has jobs."""

from __future__ import annotations

from collections import Counter, defaultdict

from jobs.fleet.fleet import Fleet, WorkerReport, troubles_of
from jobs.names import line_of, model_of
from jobs.process.settings import load_settings
from jobs.table.reader import JobReader, QueueCounts
from ops.doctor.finding import Finding, State, attempt, attempt_all, unchecked
from ops.doctor.redis import open_once, reach

WORKERS, QUEUES = "workers", "queues"

_SERVING = ("ready", "busy")


def check_workers() -> list[Finding]:
    """All that is to be known of workers and queues."""
    return attempt_all(WORKERS, _check)


def _check() -> list[Finding]:
    # Not by the producer's client: it wants the store and the catalogue, which may be what is wrong.
    settings = load_settings()
    with open_once(settings) as client:
        if reach(client, settings).state is not State.OK:
            return unchecked([WORKERS, QUEUES], "Redis cannot be reached")
        fleet, reader = Fleet(client, settings), JobReader(client, settings)
        workers = attempt(WORKERS, lambda: judge_workers(fleet.workers()))
        troubles = attempt_all(f"each of the {WORKERS}", lambda: judge_each(fleet.workers()))
        return [workers, *troubles, *attempt_all(QUEUES, lambda: judge_queues(reader.queues(), fleet.workers()))]


def judge_workers(workers: list[WorkerReport]) -> Finding:
    """How many there are, and in which state."""
    states = Counter(worker.state for worker in workers)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    found = f"{len(workers)} ({counted})" if workers else "none"
    if any(worker.state in _SERVING for worker in workers):
        return Finding(check=WORKERS, state=State.OK, found=found)
    advice = "Start one: ./imagemill worker. Until then, jobs wait."
    if "starting" in states:
        advice = "Wait until a worker has loaded its models; its log shows the progress."
    return Finding(check=WORKERS, state=State.WARNING, found=found, advice=advice)


def judge_each(workers: list[WorkerReport]) -> list[Finding]:
    """A finding for each worker with which something is wrong; one for all that failed for the same reason."""
    alike: dict[str, list[WorkerReport]] = defaultdict(list)
    for worker in sorted(workers, key=lambda each: -each.failed_at):
        if troubles_of(worker):
            alike[f"{worker.failure} {worker.detached} {worker.adopts}"].append(worker)
    return [_judge_trouble(each[0], len(each) - 1) for each in alike.values()]


def _judge_trouble(worker: WorkerReport, others: int) -> Finding:
    found = f"{worker.state}: it {'; and it '.join(troubles_of(worker))}"
    if others:
        found += f" (and {others} more)"
    advice = "Correct the reason, then restart the worker; its log has more. It is listed for five minutes longer."
    if worker.detached:
        line = line_of(worker.detached[0])
        advice = (
            f"Its consumer was canceled, perhaps in Flower. To let it receive jobs again: celery -A jobs.broker.app "
            f"control add_consumer {line} -d {worker.name}, the same in Flower, or a restart."
        )
    elif not worker.adopts:
        advice = "Restart it; its log may say what blocks that thread."
    return Finding(check=f"worker {worker.name}", state=State.WARNING, found=found, advice=advice)


def judge_queues(queues: list[QueueCounts], workers: list[WorkerReport]) -> list[Finding]:
    """A finding for each queue that has jobs or is paused."""
    findings = [judge_queue(each, workers) for each in queues if _jobs(each) or each.is_paused]
    return findings or [Finding(check=QUEUES, state=State.OK, found="no jobs, none paused")]


def judge_queue(queue: QueueCounts, workers: list[WorkerReport]) -> Finding:
    """Whether its jobs will run."""
    check, model = f"queue {queue.queue}", model_of(queue.queue)
    what, option = (queue.queue, "") if model is None else (model, f" --model {model}")
    states = Counter(_state_for(queue.queue, worker) for worker in workers if queue.queue in worker.queues)
    serving = sum(worker.serves(queue.queue) for worker in workers)
    jobs = f"{queue.waiting + queue.released} waiting, {queue.running} running"
    if queue.later:
        jobs += f", {queue.later} to start later"
    paused = ", paused" if queue.is_paused else ""
    if _jobs(queue) and not serving:
        others = ", ".join(f"{count} {state}" for state, count in states.items())
        found = f"{jobs}{paused}, and no worker serves {what}" + (f" ({others})" if others else "")
        advice = f"Start one: ./imagemill worker{option}."
        if small := sum(model in worker.left_out for worker in workers):
            found += f"; too little memory for it: {small}"
            advice = f"Start one on a device that has min_vram_gb of [models.{model}] in models.toml, or correct that."
        if any(worker.state == "starting" for worker in workers):
            advice = f"A worker is starting: wait, then check again. If it does not serve {what}, start one that does."
        return Finding(check=check, state=State.FAILURE, found=found, advice=advice)
    if queue.is_paused:
        advice = f"To let its jobs run: ./imagemill queue resume {queue.queue}."
        return Finding(check=check, state=State.WARNING, found=f"{jobs}{paused}", advice=advice)
    return Finding(check=check, state=State.OK, found=f"{jobs}, workers that serve it: {serving}")


def _state_for(queue: str, worker: WorkerReport) -> str:
    return "detached" if queue in worker.detached else worker.state


def _jobs(queue: QueueCounts) -> int:
    return queue.waiting + queue.released + queue.running + queue.later

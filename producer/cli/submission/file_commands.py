"""`./imagemill submit --file`: what a person sees, and what a script reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jobs.errors import InvalidRequest, RedisFull, RedisUnavailable
from producer.cli.output.reporting import EXIT_NO_IMAGES, EXIT_TIMEOUT, warn
from producer.cli.output.terminal import Terminal, print_json, say
from producer.cli.results.saving import make_folder
from producer.cli.submission.file_run import Ended, FileRun
from producer.cli.submission.prompt_file import PromptLine, read_prompts
from producer.client.parts import open_parts

_SHOWN_FAILURES = 10

Advance = Callable[[int, str], None]


def submit_file(
    file: Path,
    given: dict[str, Any],
    *,
    out: Path | None,
    timeout_s: float | None,
    is_detached: bool,
    as_json: bool,
) -> None:
    """
    Submit all jobs of a file, and see them through unless detached.

    Args:
        given: Fields for all lines. An idempotency key among them names the run.
        out: Folder for the pictures; it is made if need be.

    Raises:
        InvalidRequest: Of the file, and nothing was submitted; or a picture cannot be saved.
        typer.Exit: Some ended without images, or did not end in time.
    """
    parts = open_parts()
    run = str(given.pop("idempotency_key", ""))
    prompts = read_prompts(parts.submitter, file, given, run)
    if out is not None:
        make_folder(out)
    console = Terminal(stderr=True)
    work = FileRun(parts, prompts, out)
    shown = _Shown(work, prompts, console, as_json=as_json)
    try:
        shown.submit()
        if is_detached:
            shown.print_ids()
        else:
            shown.follow(timeout_s)
    except (KeyboardInterrupt, InvalidRequest, RedisFull, RedisUnavailable):
        _explain_resume(work, prompts, shown.ended, console)
        raise


class _Shown:
    """One bar for all jobs, first over their submission and then over their ends."""

    def __init__(self, work: FileRun, prompts: list[PromptLine], console: Console, *, as_json: bool) -> None:
        self._work = work
        self._prompts = prompts
        self._console = console
        self._as_json = as_json
        self._failures: list[Ended] = []
        self.ended: Counter[str] = Counter()

    def submit(self) -> None:
        with self._bar("submitting") as advance:
            for count in self._work.submit():
                advance(count, "")
        for each in self._work.warnings:
            warn(each)

    def follow(self, timeout_s: float | None) -> None:
        started = time.monotonic()
        with self._bar("making") as advance:
            for ended in self._work.follow(timeout_s):
                for each in ended:
                    self._note(each)
                advance(len(ended), ", ".join(f"{count} {what}" for what, count in self.ended.items()))
        self._conclude(time.monotonic() - started)

    def print_ids(self) -> None:
        for prompt, job_id in zip(self._prompts, self._work.job_ids, strict=True):
            if self._as_json:
                print_json({"line": prompt.line, "custom_id": prompt.custom_id, "id": job_id})
            else:
                say(job_id or "refused")

    def _bar(self, what: str) -> AbstractContextManager[Advance]:
        return _bar(what, len(self._prompts), self._console, is_shown=not self._as_json)

    def _note(self, ended: Ended) -> None:
        self.ended[_outcome(ended)] += 1
        if not ended.has_succeeded:
            self._failures.append(ended)
        if self._as_json:
            print_json(self._work.describe(ended))

    def _conclude(self, took_s: float) -> None:
        is_over = self.ended.total() == len(self._prompts)
        if not self._as_json:
            counted = ", ".join(f"{count} {what}" for what, count in self.ended.items())
            self._console.print(f"{counted or 'none ended'} of {len(self._prompts)} in {took_s:.1f} s", highlight=False)
            for each in self._failures[:_SHOWN_FAILURES]:
                outcome, reason = escape(_outcome(each)), escape(_reason(each))
                self._console.print(f"[red]{outcome}[/] line {each.prompt.line}: {reason}", markup=True, soft_wrap=True)
            if len(self._failures) > _SHOWN_FAILURES:
                self._console.print(f"… and {len(self._failures) - _SHOWN_FAILURES} more")
        if not is_over:
            raise typer.Exit(EXIT_TIMEOUT)
        if self._failures:
            raise typer.Exit(EXIT_NO_IMAGES)


@contextmanager
def _bar(what: str, total: int, console: Console, *, is_shown: bool) -> Iterator[Advance]:
    columns = (
        TextColumn("[bold]{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        bar = progress.add_task(what, total=total, detail="")
        yield lambda count, detail: progress.update(bar, advance=count, detail=escape(detail))


def _outcome(ended: Ended) -> str:
    if ended.refused is not None:
        return "refused"
    return ended.record.status if ended.record is not None else "gone"


def _reason(ended: Ended) -> str:
    if ended.refused is not None:
        return str(ended.refused)
    if ended.record is None:
        return "its record has expired; submit it again with another --idempotency-key"
    error = ended.record.error
    return f"{error.message} ({error.code}), job {ended.record.id}" if error else f"job {ended.record.id}"


def _explain_resume(work: FileRun, prompts: list[PromptLine], ended: Counter[str], console: Console) -> None:
    submitted = len(work.job_ids)
    console.print(
        f"interrupted: {submitted} of {len(prompts)} jobs are submitted and continue; {ended.total()} have ended. "
        "Run the same command again to continue: no line is submitted twice.",
        highlight=False,
    )

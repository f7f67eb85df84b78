"""
What tests cost: the processor time of each, with that of every process it started.

Wall time says little on a shared machine; processor time can be compared between runs, and is what a change of the
tests can lower. Each run ends with the sum; `--processor-times` lists the files that took most.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.processes import children_of

OPTION = "--processor-times"

_PROPERTY = "processor_s"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> float:
    """Seconds, user and kernel, of a process, its live descendants, and those that were waited for."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = sum(int(word) for word in words[11:15]) / _TICKS_PER_S  # utime, stime, cutime, cstime: proc_pid_stat(5)
    return own + sum(processor_s(child) for child in children_of(pid))


class ProcessorTimes:
    """A plugin of pytest, with xdist or without: measures tests where they run, and sums up where reports come."""

    def __init__(self, *, lists_files: bool) -> None:
        self._lists_files = lists_files
        self._of_files: dict[str, float] = defaultdict(float)
        self._tests: dict[str, int] = defaultdict(int)
        self._before = 0.0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """A test begins where the one before ended, so that what pytest does between them is counted with them."""
        self._before = self._before or processor_s(os.getpid())
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            now = processor_s(os.getpid())
            report.user_properties.append((_PROPERTY, now - self._before))
            self._before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = dict(report.user_properties).get(_PROPERTY)
        if isinstance(seconds, float):
            file = report.nodeid.partition("::")[0]
            self._of_files[file] += seconds
            self._tests[file] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total = processor_s(os.getpid())
        if self._lists_files:
            self._list_files(terminalreporter, total)
        terminalreporter.write_line(f"{total:.0f} processor seconds, for {sum(self._tests.values())} tests")

    def _list_files(self, terminal: pytest.TerminalReporter, total: float) -> None:
        terminal.section("processor seconds")
        for file, seconds in sorted(self._of_files.items(), key=lambda item: -item[1]):
            terminal.write_line(f"{seconds:8.2f}  {self._tests[file]:4}  {file}")
        terminal.write_line(
            f"{total - sum(self._of_files.values()):8.2f}        imports, collection, the run's own end"
        )

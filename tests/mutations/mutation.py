"""A mutation takes one write or one guard out of a script."""

from __future__ import annotations

from dataclasses import dataclass

MACHINE = "tests/integration/jobs/test_state_machine.py"

_FOLDER = "tests/integration/jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """
    One mutation.

    Attributes:
        name: Says what a script forgets.
        script: Its file under `jobs/scripts/lua`.
        old, new: What stands there once, and what stands there in its place.
        tests: Those that should notice it, which run first; then the machine does, and then all of the job table's.
    """

    name: str
    script: str
    old: str
    new: str = ""
    tests: tuple[str, ...] = ()

    def apply(self, text: str) -> str:
        """The mutated script. Raises `ValueError` where what is to be taken out does not stand there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.script}")
        return text.replace(self.old, self.new)


def forgets(name: str, script: str, old: str, new: str = "", tests: str = "") -> Mutation:
    """`tests` of the job table, separated by spaces: `later:it_counts` is `test_later.py::test_it_counts`."""
    parts = (each.partition(":") for each in tests.split())
    found = tuple(f"{_FOLDER}/test_{file}.py::test_{test}" for file, _, test in parts)
    return Mutation(name=name, script=script, old=old, new=new, tests=found)

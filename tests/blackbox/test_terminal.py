"""What others send is shown on an operator's terminal, and does nothing there."""

from __future__ import annotations

import json
import unicodedata

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import GENERATE, PROMPT, QUEUE
from tests.blackbox.system import simulated, until

ACTS = {"Cc", "Cf", "Zl", "Zp"}
COLOUR, UPPER, TURNED = "\x1b[31mred", "\x9b31mred", "\u202ederuned\u2066"
LINK = "\x1b]8;;http://a.example\x1b\\here"


def acting(text: str) -> list[str]:
    return [ascii(each) for each in text if unicodedata.category(each) in ACTS and each not in "\n\t"]


def test_what_others_send_does_nothing_on_a_terminal(make_system: MakeSystem) -> None:
    system = make_system(simulated(row_s=0.001))
    system.serve()
    worker = system.worker()
    app, client = system.celery(), system.redis()
    fields = {"prompt": PROMPT, COLOUR + UPPER + LINK + "\nforged": TURNED}
    refused = app.send_task(GENERATE, kwargs=fields, queue=QUEUE).id
    made = app.send_task(GENERATE, kwargs={"prompt": PROMPT + UPPER + TURNED}, queue=QUEUE).id
    until(
        "one is refused, and one is done",
        lambda: all(
            client.hget(f"imagemill:job:{each}", "status") in ("failed", "succeeded") for each in (refused, made)
        ),
    )
    client.zadd("imagemill:dead", {made: 1.0, refused: 2.0})  # Where an operator reads prompts and reasons in a table.
    app.send_task(GENERATE, kwargs=fields, queue=f"gpu.{COLOUR}[red]")
    printed = [
        system.cli(*command)
        for command in (
            *(
                ("status", refused),
                ("wait", refused),
                ("status", made),
                ("events", made),
                ("dead", "list"),
                ("workers",),
            ),
            *(("doctor",), ("status", f"{COLOUR}{TURNED}"), ("status", made, "--json"), ("dead", "list", "--json")),
        )
    ]
    for each in printed:
        assert acting(each.stdout + each.stderr) == [], each.args
    assert "\\x1b[31mred" in printed[0].stdout + printed[1].stdout, "it is shown"
    assert json.loads(printed[-2].stdout)["parameters"]["prompt"] == PROMPT + UPPER + TURNED
    assert acting("".join(worker.lines)) == []
    assert not [line for line in worker.lines if line.startswith("forged")]

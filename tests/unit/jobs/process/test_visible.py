"""Nothing of others' words acts on a terminal: in sentences, tables, logs and JSON, which still means what it meant."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from pathlib import Path

import pytest
import structlog
from honcho.printer import Printer
from rich.table import Table

from jobs.process.logs import LogFormat, configure_logging
from jobs.process.visible import visible, visible_json, visible_line
from ops.up import Output
from producer.cli.output.terminal import Terminal, print_json, say

CHECKOUT = Path(__file__).resolve().parents[4]
HOSTILE = (
    "\x1b[31mred \x9b31mred \u202edraw \u2066x \x1b]8;;http://a.example\x1b\\link\x07 \u200b\u2028 \U000e0041 \ud800"
)
KEPT = "жёлтый 黄 👩\u200d🎨 نص"
ACTS = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def acting(text: str) -> list[str]:
    """Characters that do something instead of standing there; joiners of emoji and of scripts excepted."""
    return [each for each in text if unicodedata.category(each) in ACTS and each not in "\n\t\u200c\u200d"]


def test_what_acts_is_escaped_and_all_else_stays() -> None:
    assert acting(visible(HOSTILE)) == []
    assert visible("\x1b[31m") == r"\x1b[31m"
    assert visible(KEPT) == KEPT
    assert visible("two\nlines") == "two\nlines"
    assert visible_line("two\nlines") == r"two\nlines"


def test_every_control_and_mark_of_direction_is_one_of_them() -> None:
    for point in range(0x110000):
        character = chr(point)
        if unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} or (
            unicodedata.category(character) == "Cc" and character not in "\n\t"
        ):
            assert visible(character).isascii(), hex(point)


def test_json_means_what_it_meant() -> None:
    text = HOSTILE + KEPT
    shown = visible_json(json.dumps({text: text}, ensure_ascii=False))
    assert acting(shown) == []
    assert json.loads(shown) == {text: text}
    assert KEPT in shown


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_line_shows_it(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.INFO, form)
    structlog.get_logger().warning(HOSTILE + "\nforged", **{HOSTILE: HOSTILE, "many": [HOSTILE]})
    logging.getLogger("a library").error("%s\nforged", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("failed")
    told = capsys.readouterr().err
    assert acting(told.encode("utf-8", "replace").decode()) == []
    assert not any(line.startswith("forged") for line in told.splitlines())


def test_a_table_shows_it_and_takes_no_markup_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("what")
    table.add_row(visible(HOSTILE)[:20])
    table.add_row("[red]red[/] [link=http://a.example]x[/link] :smile:")
    terminal = Terminal()
    terminal.print(table)
    terminal.print(HOSTILE)
    told = capsys.readouterr().out
    assert acting(told) == []
    assert "[red]red[/] [link=http://a.example]x[/link] :smile:" in told


def test_a_sentence_and_json_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    print_json({"prompt": HOSTILE})
    assert acting(capsys.readouterr().out) == []


def test_a_line_of_a_process_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    output, told = Output(["up"]), io.StringIO()
    monkeypatch.setattr(output, "_printer", Printer(told, width=6))
    output.say(HOSTILE)
    assert acting(told.getvalue()) == []


def test_nothing_is_printed_beside_the_door() -> None:
    printing = re.compile(r"typer\.echo|\bConsole\(|(?<![.\w])print\(")
    files = [each for folder in ("producer/cli", "ops") for each in (CHECKOUT / folder).rglob("*.py")]
    printed = {each.name for each in files if "bench" not in each.parts and printing.search(each.read_text())}
    assert printed == {"terminal.py"}

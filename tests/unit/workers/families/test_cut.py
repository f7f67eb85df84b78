"""A prompt that is longer than its text encoder takes is cut, and the job says so."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_adapter, make_engine, run, submit
from workers.families.parts.cut import cut_texts

pytestmark = pytest.mark.filterwarnings(QUIET)

NAMES = ["stable-diffusion", "stable-diffusion-xl"]
MOST = 32  # tokens of the built-in model's tokenizer
WORD = " red"  # one token of it

# What two more tokens (its begin and its end) leave room for, and one token more.
FITS, TOO_LONG = (WORD * (MOST - 2)).strip(), (WORD * (MOST - 1)).strip()
SHORT_TOKENS = "x" * (MOST - 2)  # Letters that make no word: as many tokens as there may be.


def warnings(name: str, **fields: Any) -> tuple[str, ...]:
    adapter = make_adapter(name)
    engine = make_engine(adapter)
    ticket = submit(engine, tiny.spec(adapter.entry, num_inference_steps=2, **fields))
    run(engine, ticket)
    ticket.result()
    return ticket.warnings


@pytest.mark.parametrize("name", NAMES)
def test_prompt_that_fits_is_no_reason_to_warn(name: str) -> None:
    assert warnings(name, prompt=FITS, negative_prompt=FITS) == ()
    assert warnings(name, prompt=SHORT_TOKENS) == ()


@pytest.mark.parametrize("name", NAMES)
def test_each_prompt_that_is_cut_is_named(name: str) -> None:
    assert warnings(name, prompt=TOO_LONG) == (f"prompt: cut to {MOST} tokens",)
    assert warnings(name, prompt="red", negative_prompt=TOO_LONG) == (f"negative_prompt: cut to {MOST} tokens",)
    assert len(warnings(name, prompt=TOO_LONG, negative_prompt=TOO_LONG)) == 2


def test_each_tokenizer_counts() -> None:
    long, short = (AutoTokenizer.from_pretrained(tiny.SHAPES / "tokenizer", model_max_length=most) for most in (32, 24))
    assert cut_texts({"prompt": FITS}, [long]) == ()
    assert cut_texts({"prompt": FITS, "negative_prompt": "red"}, [long, short]) == ("prompt: cut to 24 tokens",)

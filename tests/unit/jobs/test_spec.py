"""What a caller may ask for, and how a refusal reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import ErrorCode, InvalidRequest
from jobs.spec import MAX_PROMPT_CHARS, MAX_SEED, JobRequest, JobSpec, Output, parse_request

PROMPT = "a large red circle on a blue background"

# What is sent beside the prompt; the field that the refusal names; words that a person reads.
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", "at least 1 character"),
    ({"prompt": "a\x00b"}, "prompt", "control character"),
    ({"prompt": " \n\t "}, "prompt", "at least 1 character"),
    ({"prompt": "a" * 100_000}, "prompt", f"at most {MAX_PROMPT_CHARS} characters"),
    ({"prompt": None}, "prompt", "valid string"),
    ({"prompt": 5}, "prompt", "valid string"),
    ({"prompt": b"bytes"}, "prompt", "valid string"),
    ({"prompt": "half a pair: \ud83d"}, "prompt", "unicode"),
    ({"negative_prompt": "a" * (MAX_PROMPT_CHARS + 1)}, "negative_prompt", "at most"),
    ({"model": "../etc"}, "model", "pattern"),
    ({"model": ""}, "model", "pattern"),
    ({"width": 0}, "width", "greater than or equal to 8"),
    ({"width": -128}, "width", "greater than or equal to 8"),
    ({"width": 8_193}, "width", "less than or equal to 8192"),
    ({"width": "128"}, "width", "valid integer"),
    ({"width": 128.0}, "width", "valid integer"),
    ({"width": True}, "width", "valid integer"),
    ({"height": 7}, "height", "greater than or equal to 8"),
    ({"num_inference_steps": 0}, "num_inference_steps", "greater than or equal to 1"),
    ({"num_inference_steps": 1_001}, "num_inference_steps", "less than or equal to 1000"),
    ({"guidance_scale": float("nan")}, "guidance_scale", "finite number"),
    ({"guidance_scale": float("inf")}, "guidance_scale", "finite number"),
    ({"guidance_scale": -0.1}, "guidance_scale", "greater than or equal to 0"),
    ({"guidance_scale": 100.1}, "guidance_scale", "less than or equal to 100"),
    ({"guidance_scale": "3"}, "guidance_scale", "valid number"),
    ({"scheduler": "ddim; drop"}, "scheduler", "pattern"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"seed": MAX_SEED + 1}, "seed", f"less than or equal to {MAX_SEED}"),
    ({"n": 0}, "n", "greater than or equal to 1"),
    ({"n": 65}, "n", "less than or equal to 64"),
    ({"n": 10**400}, "n", "less than or equal to 64"),
    ({"output": "png"}, "output", "dictionary"),
    ({"output": {"format": "gif"}}, "output.format", "'png', 'jpeg' or 'webp'"),
    ({"output": {"format": "jpeg", "quality": 0}}, "output.quality", "greater than or equal to 1"),
    ({"output": {"format": "jpeg", "quality": 101}}, "output.quality", "less than or equal to 100"),
    ({"output": {"quality": 90}}, "output.quality", "lossless"),
    ({"output": {"resize": {"width": 0, "height": 64}}}, "output.resize.width", "greater than or equal to 8"),
    ({"output": {"crop": {"width": 64}}}, "output.crop.height", "is missing"),
    ({"output": {"thumbnail": 15}}, "output.thumbnail", "greater than or equal to 16"),
    ({"output": {"thumbnail": 1_025}}, "output.thumbnail", "less than or equal to 1024"),
    ({"output": {"dpi": 300}}, "output.dpi", "no such field"),
    ({"priority": "urgent"}, "priority", "'low', 'normal' or 'high'"),
    ({"priority": 0}, "priority", "'low', 'normal' or 'high'"),
    ({"start_deadline": 0}, "start_deadline", "greater than 0"),
    ({"deadline": -1}, "deadline", "greater than 0"),
    ({"deadline": float("inf")}, "deadline", "should be"),
    ({"deadline": 31 * 24 * 3600}, "deadline", "less than or equal to 2592000"),
    ({"idempotency_key": ""}, "idempotency_key", "at least 1 character"),
    ({"idempotency_key": "k" * 256}, "idempotency_key", "at most 255 characters"),
    ({"metadata": {"count": 1}}, "metadata.count", "valid string"),
    ({"metadata": {"note": "a" * 513}}, "metadata.note", "at most 512 characters"),
    ({"metadata": {str(index): "" for index in range(17)}}, "metadata", "at most 16 items"),
    ({"caller": "two words"}, "caller", "pattern"),
    ({"caller": "a:b"}, "caller", "pattern"),  # It becomes part of a Redis key, where ":" parts the names.
    ({"colour": "red"}, "colour", "no such field"),
]


def case_id(case: tuple[dict[str, Any], str, str]) -> str:
    return ascii(case[0])[:40]


@pytest.mark.parametrize(("fields", "field", "words"), REFUSED, ids=map(case_id, REFUSED))
def test_wrong_field_is_refused_by_its_name_and_with_a_reason(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request({"prompt": PROMPT, **fields})
    assert refused.value.field == field
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert str(refused.value).startswith(f"{field}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^prompt: is missing$"):
        parse_request({})


def test_misspelt_field_is_named_before_the_field_that_it_leaves_missing() -> None:
    with pytest.raises(InvalidRequest, match=r"^promt: there is no such field$"):
        parse_request({"promt": PROMPT})


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a" * MAX_PROMPT_CHARS},
        {"prompt": f"  {'a' * MAX_PROMPT_CHARS}  "},
        {"width": 8, "height": 8_192},
        {"seed": 0},
        {"seed": MAX_SEED},
        {"guidance_scale": 0},
        {"guidance_scale": 100},
        {"n": 64},
        {"output": {"format": "webp", "quality": 1, "thumbnail": 16}},
        {"deadline": 0.001, "start_deadline": 2_592_000},
        {"metadata": {str(index): "a" * 512 for index in range(16)}},
        {"caller": "team-7.eu_west"},
    ],
    ids=lambda fields: ascii(fields)[:40],
)
def test_bounds_themselves_are_accepted(fields: dict[str, Any]) -> None:
    parse_request({"prompt": PROMPT, **fields})


def test_blanks_around_a_prompt_are_no_part_of_it() -> None:
    assert parse_request({"prompt": f"\n {PROMPT} "}).prompt == PROMPT


def test_same_parameters_have_the_same_digest_whatever_their_key_and_order() -> None:
    one = parse_request({"prompt": PROMPT, "seed": 7, "metadata": {"a": "1", "b": "2"}, "idempotency_key": "one"})
    two = parse_request({"metadata": {"b": "2", "a": "1"}, "seed": 7, "prompt": f" {PROMPT}", "idempotency_key": "two"})
    assert one.digest() == two.digest()


@pytest.mark.parametrize(
    "fields", [{"seed": 8}, {"width": 64}, {"n": 2}, {"output": {"format": "webp"}}, {"negative_prompt": "blue"}]
)
def test_other_parameters_have_another_digest(fields: dict[str, Any]) -> None:
    assert JobRequest(prompt=PROMPT, seed=7).digest() != parse_request({"prompt": PROMPT, "seed": 7, **fields}).digest()


def test_summary_shows_what_matters_and_only_the_first_words() -> None:
    spec = JobSpec(
        prompt="a large red circle " * 200,
        model="shapes",
        width=128,
        height=64,
        num_inference_steps=20,
        guidance_scale=3.0,
        scheduler="ddim",
        seed=7,
        output=Output(),
    )
    assert spec.summary().startswith("shapes 128×64 20 steps “a large red circle")
    assert len(spec.summary()) < 100


text = st.text(st.characters(), max_size=20)  # Half surrogate pairs included, which are no Unicode text.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text | st.integers(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*JobRequest.model_fields, *Output.model_fields]) | text


@hypothesis_settings(deadline=None, max_examples=200)
@given(fields=st.dictionaries(names, anything, max_size=6), prompt=st.none() | text)
def test_whatever_is_sent_is_a_request_or_an_invalid_one(fields: dict[str, Any], prompt: str | None) -> None:
    try:
        request = parse_request(fields if prompt is None else {**fields, "prompt": prompt})
    except InvalidRequest as exc:
        assert exc.field
        assert str(exc).startswith(exc.field)
    else:
        assert len(request.digest()) == 64

"""What a caller may ask for, and how a refusal reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import ErrorCode, InvalidRequest
from jobs.fields import MAX_PROMPT_CHARS, MAX_SEED, parse
from jobs.kinds.generate import GENERATE, GenerateRequest, GenerateSpec
from jobs.kinds.picture import Output
from jobs.kinds.registry import parse_request

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
    ({"width": 128.5}, "width", "valid integer"),
    ({"width": "128.0"}, "width", "valid integer"),
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
    ({"output": {"dpi": 300}}, "output.dpi", "unknown field"),
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
    ({"colour": "red"}, "colour", "unknown field"),
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
    with pytest.raises(InvalidRequest, match=r"^promt: unknown field$"):
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
    assert parse(GenerateRequest, {"prompt": f"\n {PROMPT} "}).prompt == PROMPT


def test_same_parameters_have_the_same_digest_whatever_their_key_and_order() -> None:
    one = parse_request({"prompt": PROMPT, "seed": 7, "metadata": {"a": "1", "b": "2"}, "idempotency_key": "one"})
    two = parse_request({"metadata": {"b": "2", "a": "1"}, "seed": 7, "prompt": f" {PROMPT}", "idempotency_key": "two"})
    assert one.digest() == two.digest()


@pytest.mark.parametrize(
    "fields", [{"seed": 8}, {"width": 64}, {"n": 2}, {"output": {"format": "webp"}}, {"negative_prompt": "blue"}]
)
def test_other_parameters_have_another_digest(fields: dict[str, Any]) -> None:
    assert (
        GenerateRequest(prompt=PROMPT, seed=7).digest()
        != parse_request({"prompt": PROMPT, "seed": 7, **fields}).digest()
    )


# Computed by the first version (76e3ef0): they stand in Redis beside idempotency keys, and may never change.
FIRST_DIGESTS: list[tuple[dict[str, Any], str]] = [
    ({}, "02516986cb7d554a19678bf8452bb6f76951f756132b505f35a7a09893df0097"),
    ({"negative_prompt": "blue"}, "37c3286d52444e3223accc85c2c2c445acc2fc6c88c1f48f6044292d4b4a1df5"),
    ({"n": 3}, "9217bc733c0b67f1f4c054a32f2fc961b777256296d038055b8b65257631b553"),
    ({"output": {"format": "webp"}}, "16b663d1dacaf51356f763c41dd345acb58dedec6b96e8c135bb723a3deabb72"),
    (
        {"output": {"format": "jpeg", "quality": 80}},
        "6bdcf5a59d65e08da36a5315c364a6801300b59234c6c28ef8f12fbab41382ea",
    ),
    (
        {"output": {"resize": {"width": 64, "height": 32}}},
        "86c8918e2cd99f2c30161dd82d5b04c39e0ff82f9fc196bbb4ef10e5a074523f",
    ),
    (
        {"output": {"crop": {"width": 32, "height": 32}}},
        "b61e4c435345f6b24330661ec7e7a7e07001c8b12e249a299807e3668f354bb1",
    ),
    ({"output": {"thumbnail": 64}}, "e6e62cea5902782ba21861de1c483f3434b037749a576d657d2143eb62a26b5d"),
    (
        {
            "output": {
                "format": "webp",
                "quality": 70,
                "resize": {"width": 512, "height": 256},
                "crop": {"width": 256, "height": 256},
                "thumbnail": 128,
            }
        },
        "b23571d33456332b0bd6b04da369d47123d4744eae8ac0288e50015161c3cd64",
    ),
    ({"priority": "high"}, "8f06831120159c44f098738c30140ae85ea20ec76be38089f04307b7f0449cc9"),
    ({"start_deadline": 30}, "74c18feb8ef2084501d7f41dbaec4034408d2ec648a7cb496c0596422870842b"),
    ({"deadline": 90.5}, "8364e54be5d6916b2fea14d5479571f52dcc764b35cfb8935fe7d201f4522215"),
    ({"idempotency_key": "order-7"}, "02516986cb7d554a19678bf8452bb6f76951f756132b505f35a7a09893df0097"),
    (
        {"metadata": {"order": "7", "für": "Ärzte 🎨"}},
        "8fdf1ba1229a6ef37de8564ce759208ec5eaa793876935f3c3a91611de36f129",
    ),
    ({"caller": "team-7"}, "3df06748a5690e8a90d35044fbb46128e8a254e9687ef4c988b0cfbfe7950caa"),
    ({"reproducible": True}, "d51e2c6cbb31952545b0464f82d6d6b52f7a5960aaab4f5aea75d48d56db093c"),
    ({"model": "shapes"}, "e38b2c436f8a6bc310691190da2e73940bd6f27f192d5a0351335ce0fa6b06cd"),
    ({"width": 64, "height": 128}, "e79f51766e3df3678f741837fc2b4897e6c168aa5281301950c3314677624f05"),
    ({"num_inference_steps": 20}, "8b9d541a9ec437eb9e4be85a5146c6304b74aa442cd754d09c8f607bccc374b9"),
    ({"guidance_scale": 3}, "9889c08517e7e56cdb74277b5001277481d92d17d1a0d9f829d4aadd65f7bb5b"),
    ({"scheduler": "ddim"}, "41b8647490b7fea41cadb4cfcdc15d13e6858df9b76308c66f860fd7a947ca2a"),
    ({"seed": MAX_SEED}, "3879bcfbf91cc2c24473d5d451032ed16cceb882a602d8a5c7a9abbd02f3764d"),
    (
        {"n": 1, "priority": "normal", "output": {"format": "png"}, "seed": None, "metadata": {}},
        "02516986cb7d554a19678bf8452bb6f76951f756132b505f35a7a09893df0097",
    ),
]


@pytest.mark.parametrize(("fields", "digest"), FIRST_DIGESTS, ids=lambda each: ascii(each)[:40])
def test_digests_are_those_of_the_first_version(fields: dict[str, Any], digest: str) -> None:
    assert parse_request({"prompt": PROMPT, **fields}).digest() == digest


class LaterOutput(Output):
    """As a later version may have it."""

    dpi: int = 72


class LaterRequest(GenerateRequest):
    """As a later version may have it."""

    strength: float | None = None
    tiling: bool = False
    output: LaterOutput = LaterOutput()


@pytest.mark.parametrize(("fields", "digest"), FIRST_DIGESTS, ids=lambda each: ascii(each)[:40])
def test_field_of_a_later_version_changes_no_digest_where_it_is_not_used(fields: dict[str, Any], digest: str) -> None:
    assert parse(LaterRequest, {"prompt": PROMPT, **fields}).digest() == digest


@pytest.mark.parametrize("fields", [{"strength": 0.5}, {"tiling": True}, {"output": {"dpi": 300}}])
def test_field_of_a_later_version_is_in_the_digest_where_it_is_used(fields: dict[str, Any]) -> None:
    digests = {parse(LaterRequest, {"prompt": PROMPT, **each}).digest() for each in ({}, fields)}
    assert len(digests) == 2


def test_summary_shows_what_matters_and_only_the_first_words() -> None:
    spec = GenerateSpec(
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
    assert GENERATE.summary(spec).startswith("shapes 128×64 20 steps “a large red circle")
    assert len(GENERATE.summary(spec)) < 100


text = st.text(st.characters(), max_size=20)  # Half surrogate pairs included, which are no Unicode text.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text | st.integers(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*GenerateRequest.model_fields, *Output.model_fields]) | text


@given(fields=st.dictionaries(names, anything, max_size=6), prompt=st.none() | text)
def test_whatever_is_sent_is_a_request_or_an_invalid_one(fields: dict[str, Any], prompt: str | None) -> None:
    try:
        request = parse_request(fields if prompt is None else {**fields, "prompt": prompt})
    except InvalidRequest as exc:
        assert exc.field
        assert str(exc).startswith(exc.field)
    else:
        assert len(request.digest()) == 64

"""How the built-in flow-matching model is trained: in the arithmetic of the class that uses it."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from transformers import PreTrainedTokenizerFast

from workers.builtin.drawing import PALETTE, draw_places, places
from workers.builtin.scenes import COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, random_scene
from workers.builtin.training.flow import denoiser
from workers.builtin.training.flow.denoiser import FlowTraining
from workers.builtin.training.flow.guidance import Guidance
from workers.builtin.training.flow.latents import BUCKETS, PATCH_PX, Bucket, LatentPool
from workers.builtin.training.flow.text import encode, new_text_encoder
from workers.builtin.training.flow.tokenizer import new_tokenizer, tokenize
from workers.builtin.training.flow.transformer import TrainingForward, new_transformer, to_tokens

VAE = Path(__file__).resolve().parents[4] / "workers" / "builtin" / "model" / "vae"


@pytest.fixture(scope="module")
def transformer() -> ZImageTransformer2DModel:
    """With weights that let everything count: a new one's last layer makes zeros of all."""
    torch.manual_seed(0)
    model = new_transformer().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return new_tokenizer()


def both(
    model: ZImageTransformer2DModel, bucket: Bucket, lengths: list[int], products: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the class predicts, and what training takes for it."""
    torch.manual_seed(1)
    width, height = bucket.size
    latents, times = torch.randn(len(lengths), 8, height // 8, width // 8), torch.rand(len(lengths))
    texts = [torch.randn(length, 128) for length in lengths]
    forward = TrainingForward(model, products=products, compiled=False)
    with torch.no_grad():
        ours, _ = forward(to_tokens(latents), times, *padded(texts, bucket), size=bucket.patches, tap=3)
    return ours, of_class(model, latents, times, texts)


def padded(texts: list[torch.Tensor], bucket: Bucket) -> tuple[torch.Tensor, torch.Tensor]:
    padding = torch.arange(bucket.text_tokens) >= torch.tensor([len(each) for each in texts])[:, None]
    filled = torch.zeros(*padding.shape, 128)
    filled[~padding] = torch.cat(texts)
    return filled, padding


def of_class(
    model: ZImageTransformer2DModel, latents: torch.Tensor, times: torch.Tensor, texts: list[torch.Tensor]
) -> torch.Tensor:
    with torch.no_grad():
        theirs = model([each[:, None] for each in latents], times, texts, return_dict=False)[0]
    return to_tokens(torch.cat(list(theirs), 1).transpose(0, 1))


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda bucket: f"{bucket.size} {bucket.text_tokens}")
def test_training_computes_what_the_class_does(transformer: ZImageTransformer2DModel, bucket: Bucket) -> None:
    lengths = [bucket.text_tokens - 22, bucket.text_tokens - 10, bucket.text_tokens]
    if bucket.text_tokens > 32:
        lengths[0] = 33
    ours, theirs = both(transformer, bucket, lengths, torch.float32)
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    rounded, _ = both(transformer, bucket, lengths, torch.bfloat16)
    assert 1e-4 < (rounded - theirs).abs().max() / theirs.abs().max() < 0.02


def test_a_shorter_padding_is_another_computation(transformer: ZImageTransformer2DModel) -> None:
    """The picture stands behind the padded text: a training with one length alone knows no other."""
    lengths = [10, 20, 32]
    ours, _ = both(transformer, BUCKETS[0], lengths, torch.float32)
    longer, _ = both(transformer, BUCKETS[-1], lengths, torch.float32)
    assert (ours - longer).abs().max() > 1e-3


def test_guidance_is_what_a_text_changes_in_what_the_class_predicts(transformer: ZImageTransformer2DModel) -> None:
    bucket = BUCKETS[1]
    torch.manual_seed(1)
    width, height = bucket.size
    latents, times = torch.randn(3, 8, height // 8, width // 8), torch.rand(3)
    nothing = [torch.randn(10, 128)] * 3
    texts = [torch.randn(12, 128), torch.randn(32, 128), nothing[2]]
    theirs = of_class(transformer, latents, times, texts) - of_class(transformer, latents, times, nothing)
    guidance = Guidance(copy.deepcopy(transformer), products=torch.float32, compiled=False)
    ours = guidance(to_tokens(latents), times, padded(texts, bucket), padded(nothing, bucket), size=bucket.patches)
    assert (ours - 2.0 * theirs).abs().max() < 1e-4 * theirs.abs().max()
    assert ours[:2].abs().max() > 1e-3
    assert ours[2].abs().max() < 1e-6


def test_every_word_of_a_caption_is_one_token_whatever_its_case(tokenizer: PreTrainedTokenizerFast) -> None:
    words = [*COLOURS, *SHAPES, *SIZES, *POSITIONS, *RELATIONS]
    for word in {part for each in words for part in each.split()}:
        assert len(tokenizer(f" {word}").input_ids) == len(tokenizer(word).input_ids) == 1, word
        assert tokenizer(word.upper()).input_ids == tokenizer(word).input_ids


@pytest.mark.parametrize("text", ["a zebra", "ein Kreis, größer als 3 €", "猫", ""])
def test_every_prompt_comes_back_from_its_tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text.lower()


def test_caption_ends_where_the_chat_does_and_is_cut_where_it_is_too_long(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens, padding = tokenize(tokenizer, ["a red circle", "a " * 100], 32)
    assert tokens.shape == (2, 32)
    assert tokenizer.decode(tokens[0][~padding[0]]) == (
        "<|im_start|>user\na red circle<|im_end|>\n<|im_start|>assistant\n"
    )
    assert not padding[1].any()


def test_padding_does_not_change_what_a_text_is_encoded_to(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    encoder = new_text_encoder(tokenizer).eval()
    texts = ["a red circle", "a large yellow star at the bottom right on a magenta background"]
    with torch.no_grad():
        short, padding = (
            encode(encoder, *tokenize(tokenizer, texts, 32)),
            tokenize(tokenizer, texts, 32)[1],
        )
        long = encode(encoder, *tokenize(tokenizer, texts, 64))[:, :32]
    assert torch.allclose(short[~padding], long[~padding], atol=1e-5)


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda bucket: f"{bucket.size} {bucket.text_tokens}")
def test_buckets_are_what_the_class_does_not_pad(bucket: Bucket) -> None:
    rows, columns = bucket.patches
    assert (rows * columns) % 32 == bucket.text_tokens % 32 == 0
    assert (columns * PATCH_PX, rows * PATCH_PX) == bucket.size


def test_shares_of_the_buckets_make_all() -> None:
    assert sum(each.share for each in BUCKETS) == pytest.approx(1)


def test_labels_say_which_figure_stands_in_a_patch() -> None:
    pool = LatentPool(AutoencoderKL.from_pretrained(VAE).eval(), random.Random(0))
    pool.grow(1)
    for bucket in BUCKETS[:3]:
        batch = pool.sample(bucket, 8)
        rows, columns = bucket.patches
        assert batch.latents.shape == (8, rows * columns, 32)
        assert 0.5 < batch.latents.std() < 2, "scaled"
        for caption, labels in zip(batch.captions, batch.labels, strict=True):
            named = {divmod(int(each) - 1, len(COLOURS)) for each in labels.unique() if each}
            for shape, colour in named:
                assert f"{COLOURS[colour]} {SHAPES[shape]}" in caption
            assert len(named) == sum(caption.count(shape) for shape in SHAPES)


@pytest.mark.parametrize("size", [(192, 128), (128, 192), (128, 128)])
def test_places_are_on_the_grid_and_inside(size: tuple[int, int]) -> None:
    rng = random.Random(3)
    for _ in range(50):
        scene = random_scene(rng)
        at = places(scene, rng, grid_px=PATCH_PX, size=size)
        for place in at:
            assert place.x % PATCH_PX == place.y % PATCH_PX == 0
            assert place.radius < place.x < size[0] - place.radius
            assert place.radius < place.y < size[1] - place.radius
        pixels = np.asarray(draw_places(scene, at, size=size))
        assert pixels.shape == (size[1], size[0], 3)
        assert (pixels[0] == PALETTE[scene.background]).all()


def test_a_picture_whose_shorter_side_is_another_is_refused() -> None:
    with pytest.raises(ValueError, match="size: the shorter side is 128"):
        places(random_scene(random.Random(0)), random.Random(0), grid_px=None, size=(96, 128))


@pytest.mark.long  # Each trains twice.
@pytest.mark.parametrize(("dropout", "differs"), [(0.0, True), (1.0, False)])
def test_guidance_moves_the_target_of_what_has_a_caption(
    tokenizer: PreTrainedTokenizerFast,
    transformer: ZImageTransformer2DModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dropout: float,
    differs: bool,
) -> None:
    monkeypatch.setattr(denoiser, "BATCH", 4)
    monkeypatch.setattr(denoiser, "_POOL_FIRST", 1)
    monkeypatch.setattr(denoiser, "_CAPTION_DROPOUT", dropout)
    text_encoder, autoencoder = new_text_encoder(tokenizer).eval(), AutoencoderKL.from_pretrained(VAE).eval()
    after = []
    for guidance in (None, Guidance(copy.deepcopy(transformer), compiled=False)):
        folder = tmp_path / ("plain" if guidance is None else "guided")
        folder.mkdir()
        training = FlowTraining(autoencoder, text_encoder, tokenizer, folder, guidance=guidance, compiled=False)
        training.run(until_step=1)
        after.append(training.averaged())
    assert same(*after) is not differs


@pytest.mark.long
def test_training_resumes_and_begins_with_the_weights_of_a_directory(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoiser, "BATCH", 4)
    monkeypatch.setattr(denoiser, "_POOL_FIRST", 1)
    text_encoder, autoencoder = new_text_encoder(tokenizer).eval(), AutoencoderKL.from_pretrained(VAE).eval()

    def training(folder: Path) -> FlowTraining:
        folder.mkdir(exist_ok=True)
        return FlowTraining(autoencoder, text_encoder, tokenizer, folder, compiled=False)

    first = training(tmp_path / "first")
    first.run(until_step=3)
    again = training(tmp_path / "first")
    assert again.resume()
    assert again.step == 3
    assert same(first.averaged(), again.averaged())
    again.run(until_step=5)
    assert not same(first.averaged(), again.averaged())

    again.averaged().save_pretrained(tmp_path / "model" / "transformer")
    other = training(tmp_path / "other")
    assert not other.resume()
    other.start_from(tmp_path / "model")
    assert other.step == 0
    assert same(other.averaged(), again.averaged())


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))

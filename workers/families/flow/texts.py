"""The stage before the transformer: texts of about one length are encoded together, each once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch

from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.families.flow.run import FlowConditioning
from workers.families.parts.devices import device_of
from workers.families.parts.embeddings import Embedding, EmbeddingCache

T = TypeVar("T")

_STEP = 32  # tokens: texts of one group fill up to the same multiple
_LONG = 256  # above it, groups are of twice as many


class TextStage(ABC):
    """
    Encodes the texts of jobs, on the device or on the processor, as the entry says.

    Attributes:
        cache: Of what texts were encoded to.
        max_tokens: Of a text; what is longer is cut.
    """

    # Tokens that diffusers' pipeline takes of a prompt by itself.
    _own_max_tokens: ClassVar[int] = 512
    # The most that it takes, when it is told; None for any number.
    _most_tokens: ClassVar[int | None] = None

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        self.entry = entry
        self.pipeline = pipeline
        self.cache = cache
        self.max_tokens = entry.max_sequence_length or self._own_max_tokens
        if self._most_tokens is not None and self.max_tokens > self._most_tokens:
            raise InvalidConfiguration(
                f"model {entry.name}: max_sequence_length of [models.{entry.name}] in models.toml is "
                f"{self.max_tokens}, and its pipelines take {self._most_tokens} at most"
            )
        self._device: torch.device = device_of(pipeline.transformer)
        self._text_device = self._place_text_encoders()

    @abstractmethod
    def _tokens(self, text: str) -> int:
        """How many a text has, with what the model puts around it."""

    @abstractmethod
    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        """
        Encode texts together, where the text encoder is.

        Args:
            length: Tokens that all are filled up to; for models that fill all texts up to one length, that is
                `max_tokens`.

        Returns:
            For each text, tensors without a batch: the first, (T, D), of its tokens.
        """

    def _fixed_length(self) -> int | None:
        """To which the model has all texts filled up; None where they keep their own."""
        return None

    @torch.inference_mode()
    def condition(self, specs: Sequence[GenerateSpec]) -> list[FlowConditioning]:
        """Texts of about one length together; what a text is longer than `max_tokens` is cut, with a warning."""
        texts = {id(spec): self._texts(spec) for spec in specs}
        together = [(text, False) for spec in specs if not spec.reproducible for text in texts[id(spec)]]
        found = dict(zip(together, self.cache.get_many(together, self._encode_keys), strict=True))
        for key in [(text, True) for spec in specs if spec.reproducible for text in texts[id(spec)]]:
            found[key] = self.cache.get_many([key], self._encode_keys)[0]  # Alone: the same in any company.
        return [self._condition(spec, [found[text, spec.reproducible] for text in texts[id(spec)]]) for spec in specs]

    def _texts(self, spec: GenerateSpec) -> list[str]:
        """Its prompt and, with guidance, what stands beside it; as the model is given them, if that differs."""
        texts = [spec.prompt]
        if self.entry.is_guided(spec.guidance_scale):
            taken = spec.negative_prompt if self.entry.takes_negative_prompt else ""
            texts.append(taken or self.entry.traits.empty_negative)
        return texts

    def _encode_keys(self, keys: list[Any]) -> list[Embedding]:
        texts = list(dict.fromkeys(text for text, _alone in keys))
        fixed = self._fixed_length()
        groups = {fixed: texts} if fixed else by_length(texts, lambda text: min(self._tokens(text), self.max_tokens))
        made: dict[str, Embedding] = {}
        for length, group in groups.items():
            made |= zip(group, self._encode_texts(group, min(length, self.max_tokens)), strict=True)
        return [tuple(tensor.to(self._device) for tensor in made[text]) for text, _alone in keys]

    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> FlowConditioning:
        said = {"prompt": spec.prompt, "negative_prompt": spec.negative_prompt}
        texts = dict(zip(said, self._texts(spec), strict=False))
        cut = [name for name, text in texts.items() if said[name] and self._tokens(text) > self.max_tokens]
        warnings = tuple(f"{name}: cut to {self.max_tokens} tokens, which {self.entry.name} takes" for name in cut)
        negative = embeddings[1] if len(embeddings) > 1 else None
        return FlowConditioning(prompt=embeddings[0], negative=negative, warnings=warnings)

    def _place_text_encoders(self) -> torch.device:
        """Move them where the entry wants them. Returns where that is."""
        encoders = [part for name, part in self.pipeline.components.items() if name.startswith("text_encoder") and part]
        if self.entry.text_device == "cpu":
            for each in encoders:
                each.to("cpu")
        return device_of(encoders[0])


def by_length(texts: Sequence[T], length: Callable[[T], int]) -> dict[int, list[T]]:
    """
    Texts in groups, by the length that each of a group is filled up to.

    Args:
        length: Of a text, in tokens.
    """
    groups: dict[int, list[T]] = {}
    for text in texts:
        step = _STEP if length(text) <= _LONG else 4 * _STEP
        groups.setdefault(-(-max(length(text), 1) // step) * step, []).append(text)
    return groups

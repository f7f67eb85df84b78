"""
What a loaded pipeline lacks.

diffusers leaves a tensor that no file has without memory, so that moving it to a device fails, with no name.
transformers fills it with random numbers, and warns; the pictures are then noise, and look like a success.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import single_file_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workers.loading.errors import NotLoaded

_SHOWN = 3  # tensors, by name
_IN_NO_FILE = "in no file"


@contextmanager
def noting_random_tensors() -> Iterator[list[str]]:
    """
    Note what transformers fills at random, while pipelines are loaded by diffusers.

    diffusers has no option that asks transformers for it, and loads from hubs, revisions and folders in its own way; so
    for the while, transformers' own method of loading is asked for its `output_loading_info`. What is tied to another
    tensor, or computed rather than loaded, is not in there. Tensors of a wrong shape it would refuse by itself, and
    name them in a log only. Not for several threads at a time.

    Yields:
        A list that grows by a text for each component with such tensors.
    """
    noted: list[str] = []
    plain = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(
        cls: type[Any], /, source: Any, *args: Any, output_loading_info: bool = False, **options: Any
    ) -> Any:
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, info = plain.__get__(None, cls)(source, *args, **options)
        component = Path(source).name  # diffusers gives its folder.
        if other := {name for name, *_shapes in info["mismatched_keys"]}:
            noted.append(_describe(component, other, "of another shape than config.json says"))
        if missing := set(info["missing_keys"]) - other:
            noted.append(_describe(component, missing, _IN_NO_FILE))
        return (model, info) if output_loading_info else model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield noted
    finally:
        PreTrainedModel.from_pretrained = plain


@contextmanager
def naming_missing_tensors() -> Iterator[None]:
    """
    Refuse a single file without a component's tensors, by their names, before diffusers fails to move them.

    As above: for the while, and not for several threads at a time.

    Raises:
        NotLoaded: A component lacks tensors.
    """
    plain = single_file_model.load_model_dict_into_meta

    def load(model: Any, state_dict: Mapping[str, Any], **options: Any) -> Any:
        if missing := set(model.state_dict()) - set(state_dict):
            raise NotLoaded(f"{_describe(type(model).__name__, missing, 'not in it')}; download the whole file again")
        return plain(model, state_dict, **options)

    single_file_model.load_model_dict_into_meta = load
    try:
        yield
    finally:
        single_file_model.load_model_dict_into_meta = plain


def missing_parts(pipeline: Any) -> Iterator[str]:
    """What each component of a loaded pipeline lacks: tensors, or a vocabulary."""
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            tensors = (*component.named_parameters(), *component.named_buffers())
            if empty := [tensor_name for tensor_name, tensor in tensors if tensor.is_meta]:
                yield _describe(name, empty, _IN_NO_FILE)
        if isinstance(component, PreTrainedTokenizerBase) and not _has_letters(component):
            yield f"{name}: its vocabulary has no letter"


def broken_parts(pipeline: Any) -> Iterator[str]:
    """
    Which tensors of each component hold what is no number, as after a conversion that went wrong.

    Their pictures would be black, or their jobs fail one by one.
    """
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            tensors = (*component.named_parameters(), *component.named_buffers())
            if broken := [tensor_name for tensor_name, tensor in tensors if _has_nan(tensor)]:
                yield _describe(name, broken, "partly NaN (not a number)")


def _has_nan(tensor: torch.Tensor) -> bool:
    # A sum has no second tensor of that size beside it; it is NaN, too, where there is infinity of both signs.
    is_float = tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    if is_float and type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        tensor = tensor.detach().dequantize()  # torchao's do not add up.
    return is_float and bool(tensor.detach().sum().isnan()) and bool(tensor.isnan().any())


def _has_letters(tokenizer: Any) -> bool:
    """Whether any token has one, beside those with a meaning of their own, which a tokenizer makes without a file."""
    own = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    return any(any(map(str.isalpha, token)) for token in tokenizer.get_vocab() if token not in own)


def _describe(component: str, tensors: Iterable[str], what: str) -> str:
    names = sorted(tensors)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    count = "1 tensor is" if len(names) == 1 else f"{len(names)} tensors are"
    return f"{component}: {count} {what}: {', '.join(names[:_SHOWN])}{more}"

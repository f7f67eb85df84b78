"""The options of `submit`: made of the requests of all kinds, so that what can be asked for can be typed."""

from __future__ import annotations

import base64
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.errors import InvalidRequest
from jobs.kinds.inputs import InputMark
from jobs.kinds.picture import Box
from jobs.kinds.registry import KINDS

_ARGUMENT = "prompt"  # Typed without a name.
# Where a field's own name is taken, or long.
_NAMES = {
    "num_inference_steps": ["--num-inference-steps", "--steps"],
    "output.metadata": ["--file-metadata"],
    "references": ["--reference"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOption:
    """
    One option.

    Attributes:
        path: Of the field of a request.
        type: What is typed.
        read: What becomes of it.
    """

    path: tuple[str, ...]
    type: Any
    help: str
    read: Callable[[Any], Any] = lambda typed: typed

    @property
    def parameter(self) -> str:
        """Its name among the command's parameters."""
        return "_".join(self.path)

    @property
    def annotation(self) -> Any:
        names = _NAMES.get(".".join(self.path), [f"--{self.path[-1].replace('_', '-')}"])
        return Annotated[self.type | None, typer.Option(*names, help=self.help)]


Command = Callable[..., None]


def with_field_options(kind: str | None = None, without: str = "") -> Callable[[Command], Command]:
    """
    Give a command options for the fields of requests; it is called with `fields`: those typed, as a request has them.

    Args:
        kind: Whose fields; None for those of all kinds.
        without: A field that the command has an argument for.
    """
    options = {option.parameter: option for option in field_options(kind) if option.path != (without,)}

    def decorate(command: Command) -> Command:
        return _with_options(command, options)

    return decorate


def _with_options(command: Command, options: Mapping[str, FieldOption]) -> Command:
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "fields"]
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, kind, default=None, annotation=option.annotation) for name, option in options.items()
    ]

    @functools.wraps(command)
    def call(**typed: Any) -> None:
        given = {options[name]: typed.pop(name) for name in options}
        command(fields=lambda: _fields_of(given), **typed)

    parameters = [*(each.replace(kind=kind) for each in own), *added]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def field_options(kind: str | None = None) -> list[FieldOption]:
    """Of a kind's requests, or of all kinds'; a field that several have is one option."""
    kinds = KINDS.values() if kind is None else [KINDS[kind]]
    found = [option for each in kinds for option in _options_of(each.request, ())]
    return list({option.path: option for option in found if option.path != (_ARGUMENT,)}.values())


def _options_of(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[FieldOption]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        if marks := [each for each in field.metadata if isinstance(each, InputMark)]:
            yield _input_option(path, field, is_list=any(mark.most is not None for mark in marks))
            continue
        inner = _plain(field.annotation)
        if inner is not Box and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _options_of(inner, path)
        else:
            yield _option(path, field, inner)


def _input_option(path: tuple[str, ...], field: FieldInfo, *, is_list: bool) -> FieldOption:
    description = " ".join((field.description or "").split())
    return FieldOption(
        path=path,
        type=list[str] if is_list else str,
        help=f"A local file, or as in a request{'; may be repeated' * is_list}. {description}",
        read=functools.partial(_read_inputs if is_list else read_input, path),
    )


def _option(path: tuple[str, ...], field: FieldInfo, inner: Any) -> FieldOption:
    description = " ".join((field.description or "").split())
    if inner is Box:
        return FieldOption(path=path, type=str, help=f"WIDTHxHEIGHT. {description}", read=functools.partial(_box, path))
    if get_origin(inner) is dict:
        return FieldOption(path=path, type=list[str], help=f"KEY=VALUE; may be repeated. {description}", read=_tags)
    if get_origin(inner) is Literal:
        return FieldOption(path=path, type=str, help=f"{', '.join(map(str, get_args(inner)))}. {description}")
    return FieldOption(path=path, type=inner, help=description)


def _plain(annotation: Any) -> Any:
    """The type of a field without None and bounds."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (each for each in get_args(annotation) if each is not NoneType)
        return _plain(inner)
    return annotation


def _fields_of(given: Mapping[FieldOption, Any]) -> dict[str, Any]:
    """
    What was typed, as fields of a request.

    Raises:
        InvalidRequest: It is not of the form that its help shows.
    """
    fields: dict[str, Any] = {}
    for option, typed in given.items():
        if typed is None or typed == []:
            continue
        within = fields
        for name in option.path[:-1]:
            within = within.setdefault(name, {})
        within[option.path[-1]] = option.read(typed)
    return fields


def _box(path: tuple[str, ...], typed: str) -> dict[str, int]:
    match = re.fullmatch(r"(\d+)[x×](\d+)", typed)
    if not match:
        raise InvalidRequest(".".join(path), f"{typed!r} is not WIDTHxHEIGHT")
    return {"width": int(match[1]), "height": int(match[2])}


def read_input(path: tuple[str, ...], typed: str) -> Any:
    """
    What was typed for a field that names an object: a file on this machine, which is sent along; or what names it in a
    request.

    Raises:
        InvalidRequest: There is no such file, or it cannot be read; or this is no valid JSON.
    """
    try:
        if typed.startswith("{"):
            return json.loads(typed)
        if typed.startswith(("data:", "https:")) or (typed.startswith("file-") and not Path(typed).exists()):
            return typed
        return f"data:;base64,{base64.b64encode(Path(typed).read_bytes()).decode()}"
    except FileNotFoundError as exc:
        raise InvalidRequest(".".join(path), f"there is no file {typed}") from exc
    except OSError as exc:
        raise InvalidRequest(".".join(path), f"{typed} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidRequest(".".join(path), f"{typed!r} is not valid JSON") from exc


def _read_inputs(path: tuple[str, ...], typed: Sequence[str]) -> list[Any]:
    return [read_input((*path, str(place)), each) for place, each in enumerate(typed)]


def _tags(typed: list[str]) -> dict[str, str]:
    for pair in typed:
        if "=" not in pair:
            raise InvalidRequest("metadata", f"{pair!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in typed)

"""The files of a model on a hub, at one commit. Its weights stay there: only their headers are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.errors import InvalidRequest
from ops.models.files import object_of
from workers.loading.weights.header import TensorHeader

_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")  # as huggingface_hub's validate_repo_id has it, by and large
_ANSWER_S = 10.0
_LONGEST_REASON = 200  # characters of what the library says


def is_hub_id(source: str) -> bool:
    """Whether a source may be the id of a model on a hub."""
    return _ID.fullmatch(source) is not None


class HubFiles:
    """
    Those of one model.

    Attributes:
        commit: That they are of: the same files for ever.
    """

    def __init__(self, repository: str, revision: str | None) -> None:
        """
        Ask which files there are.

        Args:
            revision: A branch, a tag or a commit; None for the hub's main branch.

        Raises:
            InvalidRequest: There is no such model, or no hub that says so.
        """
        from huggingface_hub import HfApi  # Late: folders need none.

        self._repository = repository
        self._api = HfApi()
        with _asking(repository):
            info = self._api.model_info(repository, revision=revision, timeout=_ANSWER_S)
        self.commit = str(info.sha)
        self._names = sorted(each.rfilename for each in info.siblings or ())

    def names(self) -> list[str]:
        return self._names

    def read_json(self, name: str) -> dict[str, Any]:
        with _asking(self._repository):
            file = self._api.hf_hub_download(self._repository, name, revision=self.commit, etag_timeout=_ANSWER_S)
        return object_of(Path(file))

    def read_header(self, name: str) -> dict[str, TensorHeader]:
        with _asking(self._repository):
            found = self._api.parse_safetensors_file_metadata(
                self._repository, name, revision=self.commit, timeout=_ANSWER_S
            )
        return {tensor: TensorHeader(each.dtype, tuple(each.shape)) for tensor, each in found.tensors.items()}


@contextmanager
def _asking(repository: str) -> Iterator[None]:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # of the HTTP library that this version has
        HFValidationError,
        HTTPError,
        SafetensorsParsingError,
    )

    try:
        yield
    except (HTTPError, HFValidationError, SafetensorsParsingError, OSError) as exc:  # OSError: offline mode, too
        reason = " ".join(str(exc).split())[:_LONGEST_REASON]
        raise InvalidRequest(
            "source", f"{repository} cannot be read from the hub: {reason}; for a gated model set HF_TOKEN"
        ) from exc

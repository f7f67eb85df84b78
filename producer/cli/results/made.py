"""What a job made, as the command line shows it and names its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from producer.client.image import Artifact, Image


def add_links(description: dict[str, Any], images: Sequence[Image], artifacts: Sequence[Artifact]) -> None:
    """Give each object of a description of their job a fresh link."""
    for image, fields in zip(images, description["images"], strict=True):
        fields["url"] = image.url()
    for artifact, fields in zip(artifacts, description["artifacts"], strict=True):
        fields["url"] = artifact.url()


def artifact_name(stem: str, index: int, artifact: Artifact) -> str:
    """The file of an object that is no image, beside those that are; `index` among its like."""
    return f"{stem}-{artifact.record.name or index}{Path(artifact.record.key).suffix}"

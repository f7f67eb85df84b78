"""Z-Image as the other families of its base are: passes of pictures of one size. What mixed sizes are compared with."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from jobs.kinds.generate import GenerateSpec
from workers.families import z_image


class OneSize(z_image.ZImage):
    """Adapts a `ZImagePipeline`; a pass has pictures of one size."""

    def _alike(self, spec: GenerateSpec) -> Hashable:
        return (spec.width, spec.height)


def keep_sizes_apart() -> None:
    """For the rest of this process."""
    z_image.FAMILY = replace(z_image.FAMILY, adapt=OneSize)

"""Everything that submits jobs and asks for them."""

from producer.client import Client, Job
from producer.image import Image

__all__ = ["Client", "Image", "Job"]

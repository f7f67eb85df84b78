"""Everything that submits jobs and asks for them."""

from producer.client import Client
from producer.job import Image, Job

__all__ = ["Client", "Image", "Job"]

"""Everything that submits jobs and asks for them."""

from producer.async_client import AsyncClient, AsyncJob
from producer.client import Client, Job
from producer.image import Image

__all__ = ["AsyncClient", "AsyncJob", "Client", "Image", "Job"]

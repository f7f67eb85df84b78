"""Everything that submits jobs and asks for them."""

from producer.client.async_client import AsyncClient, AsyncJob
from producer.client.client import Client, Job
from producer.client.image import Image

__all__ = ["AsyncClient", "AsyncJob", "Client", "Image", "Job"]

"""Everything that submits jobs and asks for them."""

from producer.client.async_client import AsyncClient
from producer.client.async_job import AsyncJob
from producer.client.client import Client
from producer.client.image import Artifact, Image
from producer.client.job import Job

__all__ = ["Artifact", "AsyncClient", "AsyncJob", "Client", "Image", "Job"]

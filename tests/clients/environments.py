"""The clients, by what pins them, and what they stand on where its newest would not do."""

from __future__ import annotations

from pathlib import Path

from tests.environments import node_modules_with, python_with

PYTHON = {
    "openai-0.28": ("openai==0.28.1", "requests==2.34.2", "aiohttp==3.14.5"),
    "openai-1.0": ("openai==1.0.0", "httpx==0.27.2", "pydantic==2.14.4"),
    "today": (  # Open WebUI asks with aiohttp and requests; it itself is a whole application.
        "openai==3.57.0",
        "langchain-community==0.4.2",
        "litellm==1.110.2",
        "aiohttp==3.14.5",
        "requests==2.34.2",
    ),
}
NODE = ("openai@7.59.0", "ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92")


def python_of(clients: str) -> Path:
    """The interpreter of an environment with some clients. Raises as `python_with` does."""
    return python_with(f"clients-{clients}", PYTHON[clients])


def modules_of_node() -> Path:
    """The `node_modules` with all of Node's. Raises as `node_modules_with` does."""
    return node_modules_with("clients-node", NODE)

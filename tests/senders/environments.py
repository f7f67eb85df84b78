"""The clients of Celery, by what pins them."""

from __future__ import annotations

from pathlib import Path

from tests.environments import node_modules_with, python_with

CELERY = {
    "5.3": ("celery==5.3.6", "kombu==5.3.7", "billiard==4.2.0", "vine==5.1.0", "redis==4.6.0"),
    "5.4": ("celery==5.4.0", "kombu==5.4.2", "billiard==4.2.1", "vine==5.1.0", "redis==5.2.1"),
    "5.7": ("celery==5.7.0", "kombu==5.7.0", "redis==8.1.0", "packaging==25.0"),
}
NODE_CLIENT = "celery-node@0.5.9"


def python_with_celery(version: str) -> Path:
    """The interpreter of an environment with one version of Celery. Raises as `python_with` does."""
    return python_with(f"celery-{version}", CELERY[version])


def modules_of_node() -> Path:
    """The `node_modules` with celery-node. Raises as `node_modules_with` does."""
    return node_modules_with("celery-node", [NODE_CLIENT])

"""Which version this is. The checkout itself is what runs, so it is said here, and again in pyproject.toml."""

VERSION = "0.1.0"

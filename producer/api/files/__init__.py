"""Uploaded files over HTTP, in the shapes of OpenAI's Files API."""

"""Batches over HTTP: many jobs in one request."""

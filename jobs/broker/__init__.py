"""Celery and kombu: the app that everybody shares, the messages of released jobs, and where they stand."""

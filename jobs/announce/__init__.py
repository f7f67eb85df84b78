"""Notifications of finished jobs: a loop for each protocol, and what each protocol does."""

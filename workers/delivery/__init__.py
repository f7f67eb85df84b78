"""How Celery's messages come into a worker, and what becomes of them."""

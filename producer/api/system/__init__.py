"""Models, queues and health over HTTP."""

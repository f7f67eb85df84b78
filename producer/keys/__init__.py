"""API keys: who may use the HTTP API, how often, for which models, and with how many jobs in the queue."""

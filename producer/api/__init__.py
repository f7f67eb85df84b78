"""The HTTP API: jobs, their events and images for services in any language."""

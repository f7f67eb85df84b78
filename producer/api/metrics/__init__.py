"""The metrics of this replica and of the whole system, for Prometheus."""

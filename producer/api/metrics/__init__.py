"""What Prometheus is told of this replica and of the whole system."""

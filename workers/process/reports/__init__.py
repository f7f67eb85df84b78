"""What a worker says of itself: to the job table, and to Prometheus."""

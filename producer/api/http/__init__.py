"""What every route needs of HTTP: bodies, errors, bounds, one log line for each request."""

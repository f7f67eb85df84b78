"""What the HTTP API does for some while others abuse it."""

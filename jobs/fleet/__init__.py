"""Workers: where they are, what they serve, and messages in lists that they read, or that none reads."""

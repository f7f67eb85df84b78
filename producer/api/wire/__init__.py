"""What comes over a connection and goes back on it: heads, answers, and those who do not get on with either."""

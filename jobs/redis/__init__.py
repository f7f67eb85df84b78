"""The connection to Redis: how it is made, through Sentinels or not, and what to do when it fails."""

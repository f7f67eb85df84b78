"""By name, the ways to serve a stream of mixed jobs that `mixed.compete` compares."""

STEPWISE, BATCHED, UNLIKE, SINGLY = "step batching", "request batching", "unlike requests", "one at a time"

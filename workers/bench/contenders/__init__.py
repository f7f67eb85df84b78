"""What competes on the benchmarks' streams: the engine, and the ways to run jobs that others have."""

"""What every process of ours has: settings, logs, traces, an address for its metrics."""

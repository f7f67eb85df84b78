"""The operator's commands: queues, workers, keys, and the jobs and files of all callers."""

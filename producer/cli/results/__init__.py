"""What became of jobs: shown while they run, saved where `--out` says."""

"""What the system stands on, looked at from this machine: is it as it must be, and what to do where it is not."""

"""What the fault suite stands on: the running system, ways to break it, and an auditor of what it left behind."""

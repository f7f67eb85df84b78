"""Mutations of the job table's scripts: whether the tests would notice that a write or a guard is gone."""

"""Pipelines of diffusers behind their own call: all steps of a job, or of jobs with equal parameters, at once."""

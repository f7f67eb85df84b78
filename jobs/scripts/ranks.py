"""
The ranks by which jobs are ordered. Those of messages are Celery's priorities on Redis, where 0 is the highest.

Scripts have them by the same names: see `jobs/scripts/preamble.py`.
"""

from __future__ import annotations

PRIORITY_RANK = {"high": 0, "normal": 3, "low": 6}

FRONT = 1  # So much before its priority's rank stands a job that was moved to the front of its caller's.

# A job's own priority orders the jobs of its caller, which the table sees to, and gives it no precedence over others':
# all messages stand in one list of the broker, but those of jobs to which another of their caller's gave its turn.
FIRST = PRIORITY_RANK["high"]  # of what was called up: workers look there first
LINE = PRIORITY_RANK["normal"]  # of all other messages

# In the table's own line, of what was released in turn. What a version without turns released has LINE in there; to
# that one this is as good as LINE, for it is not FIRST.
TURN = 1

CALLED = 9  # In place of a job's rank, behind every one: it has its turn, and needs no other's.

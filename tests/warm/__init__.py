"""
Processes of ours that tests start without each importing the same libraries again, which is most of what a start costs.

`fork_server` is a process that has imported what others wrote, and nothing of ours, and forks; `popen` has it fork what
a test asks `subprocess` for. What comes of it is a process as any other, with its own id, session, environment, folder,
output and exit code, and it imports our code itself. Programs of others, other checkouts, and what is given a
`PYTHONPATH` or more threads are started as always; so is everything where `TESTS_COLD` is set.
"""

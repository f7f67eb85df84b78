"""What the processes of a worker compute on, a process for each GPU; `own` alone imports torch."""

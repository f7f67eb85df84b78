"""What the processes of a worker compute on, a process for each GPU. Imports no torch."""

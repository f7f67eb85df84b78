"""Documents that are written by a program: `make docs`."""

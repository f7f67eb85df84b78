"""What clients may do to an API that others use, a file for each sort; `table.py` lists them all."""

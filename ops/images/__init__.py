"""What containers are made of, and what runs in them beside the programs themselves."""

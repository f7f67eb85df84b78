"""The models that can be asked for, and what a request becomes with one of them."""

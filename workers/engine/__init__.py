"""Turns jobs into pictures, as many as the device can make: jobs join and leave a running batch at every step."""

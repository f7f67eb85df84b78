"""What the engine makes of a device, by itself."""

"""What the engine is measured against, and what measures it on a device. The commands are in `ops.bench`."""

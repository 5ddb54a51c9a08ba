"""Read files within limits, validate them, lock them and write them atomically."""

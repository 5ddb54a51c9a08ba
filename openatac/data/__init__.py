"""Images: read, ordered, augmented."""

"""What networks cost, and how they compare."""

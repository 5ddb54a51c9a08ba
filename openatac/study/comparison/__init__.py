"""Units compared at several depths and seeds."""

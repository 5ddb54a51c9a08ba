"""The training engine and loop, and what a run leaves behind."""

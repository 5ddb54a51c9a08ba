"""The training engine and loop, and the files of a run."""

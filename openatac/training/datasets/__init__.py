"""The images of a run, from its config."""

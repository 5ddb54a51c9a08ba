"""Training: the config of a run, the training loop, and the files of a run."""

"""Training: what a run is (`config`), the loop, and the files of a run."""

"""Checkpoints, and the progress of a run that goes on from one."""

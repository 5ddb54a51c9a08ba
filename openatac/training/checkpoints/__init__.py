"""Checkpoints, and the progress of a run that resumes from one."""

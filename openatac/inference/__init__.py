"""Classify images with an export, a run or a parameter file, and see their gates."""

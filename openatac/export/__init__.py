"""Trained networks as files that other programs load, and the runtimes that run them."""

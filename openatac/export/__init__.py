"""Trained networks as files that other programs load, and what runs them."""

"""Graphs as data: MXNet's JSON read, checked, walked and rewritten, and activations found in networks."""

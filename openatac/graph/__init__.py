"""Graphs as data: reads, checks, walks and rewrites MXNet's JSON, and finds activations in networks."""

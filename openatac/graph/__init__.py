"""Graphs as data: read, check, walk and rewrite MXNet's JSON."""

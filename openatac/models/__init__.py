"""The host networks, their names and their parameter files."""

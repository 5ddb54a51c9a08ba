"""Statistics of the gates in trained networks."""

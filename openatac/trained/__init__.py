"""A trained network: its manifest, which says how to use it, and images for it."""

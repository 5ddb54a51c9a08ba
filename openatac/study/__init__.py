"""Studies of networks: costs, speed, comparisons, published numbers, gates and plans."""

"""Small networks, their parameters, and comparisons of them."""

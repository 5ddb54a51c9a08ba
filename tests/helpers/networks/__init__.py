"""Small networks, their parameters and files, and comparisons of them."""

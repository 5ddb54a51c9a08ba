"""Convert networks of MXNet to PyTorch."""

"""Code shared by Gluon's and PyTorch's networks: names, arguments and parameter files."""

"""What Gluon's and PyTorch's networks share: their names, arguments and parameter files."""

"""What computes: one interface, and MXNet and PyTorch behind it."""

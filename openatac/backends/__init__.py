"""The backends that compute: one interface, and MXNet and PyTorch behind it."""

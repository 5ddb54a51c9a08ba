"""The compute backends: one interface, implemented by MXNet and PyTorch."""

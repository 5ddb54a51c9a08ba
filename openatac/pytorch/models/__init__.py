"""The hosts of `openatac.models` in PyTorch."""

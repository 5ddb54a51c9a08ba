"""The units of `openatac.nn` in PyTorch."""

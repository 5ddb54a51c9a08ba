"""Replace activations in PyTorch networks, without MXNet."""

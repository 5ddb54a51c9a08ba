"""Replace the activations of existing networks, in Gluon and PyTorch."""

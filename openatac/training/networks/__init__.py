"""The network of a config, in Gluon or PyTorch: what builds it, and the values that it starts from."""

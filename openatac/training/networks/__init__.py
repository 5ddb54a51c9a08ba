"""The network of a config, in Gluon or PyTorch: how it is built, and the values that it starts from."""

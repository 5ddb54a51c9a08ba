"""PyTorch as a backend: the graph of a Gluon network."""

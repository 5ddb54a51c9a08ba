"""Replace activations in Gluon networks."""

"""The ATAC unit, and the activations and attention blocks that it is compared with, in Gluon."""

"""The ATAC unit, and the activations and attention blocks it is compared with, in Gluon."""

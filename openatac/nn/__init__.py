"""The ATAC unit, the activations and attention blocks that it is compared with, and their registries."""

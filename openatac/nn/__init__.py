"""The ATAC unit and the other activations."""

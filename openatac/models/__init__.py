"""The host networks in Gluon: built by name, their weights, and what fine-tuning changes in them."""

"""The host networks in Gluon: construction by name, weights and fine-tuning."""

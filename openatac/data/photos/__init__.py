"""Batches of photographs, augmented and prepared in several processes."""

"""Photographs for ImageNet's recipe: in folders and record files, decoded, augmented, in batches."""

"""Photographs: folders and record files of them, decoded, cropped and batched."""

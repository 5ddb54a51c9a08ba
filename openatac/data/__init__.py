"""Image data sets: download, reading, augmentation and batching."""

"""Batches of images as lists, which == compares."""


def listed(batches):
    """Return [(images, labels)] of the batches as nested lists."""
    return [(images.tolist(), labels.tolist()) for images, labels in batches]

"""Data sets of images: downloaded, read, augmented and put into batches; photographs in photos/."""

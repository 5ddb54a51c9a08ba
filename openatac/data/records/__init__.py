"""Photographs in record files (``.rec``): the format, reading, packing and checking."""

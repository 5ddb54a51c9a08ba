"""Tests of trained networks and the images for them."""

"""Measure how fast each runtime runs exported networks."""

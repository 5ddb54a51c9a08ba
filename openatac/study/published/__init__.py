"""The published numbers beside our costs and runs."""

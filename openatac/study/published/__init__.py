"""The published numbers compared with our costs and runs."""

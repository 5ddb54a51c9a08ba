"""Measures of outputs against labels, and the report of an evaluation."""

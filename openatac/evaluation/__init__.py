"""Metrics of outputs against labels, and evaluation reports."""

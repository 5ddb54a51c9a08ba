"""Estimate the time and price of the published run on other devices."""

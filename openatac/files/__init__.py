"""Reads files within limits, validates, locks and atomically writes them."""

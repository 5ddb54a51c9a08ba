"""Serve a trained network over HTTP: a JSON endpoint and a web page."""

"""Serves a trained network over HTTP: an endpoint in JSON, and a page for people."""

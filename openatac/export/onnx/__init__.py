"""Converts networks to ONNX."""

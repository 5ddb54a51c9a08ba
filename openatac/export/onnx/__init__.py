"""Exports as ONNX files."""

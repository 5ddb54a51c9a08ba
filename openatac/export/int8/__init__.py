"""Quantize networks to INT8: as symbol files, and as ONNX."""

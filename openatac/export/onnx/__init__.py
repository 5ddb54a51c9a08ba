"""Convert networks to ONNX."""

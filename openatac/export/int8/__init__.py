"""Quantize networks to INT8: as symbol files, and as ONNX."""
METHODS = ('entropy', 'naive')  # calibration methods of the symbol form; the first is the default

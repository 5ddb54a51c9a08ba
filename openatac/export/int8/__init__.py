"""Quantizes networks to INT8: as symbol files, and as ONNX."""
METHODS = ('entropy', 'naive')  # of the calibration of the symbol form; the first is the default

"""Run an ONNX file in ONNX Runtime."""
import numpy as np


def run_onnx(path: str, images: np.ndarray) -> np.ndarray:
    """Return the outputs of the file ``path`` for float32 images (B, C, H, W)."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': np.ascontiguousarray(images, np.float32)})[0]

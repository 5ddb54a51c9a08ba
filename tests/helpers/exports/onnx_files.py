"""Write networks as ONNX files, and run these in ONNX Runtime."""
import numpy as np

from openatac.export.onnx.files import write_model
from openatac.export.onnx.gluon_export import to_onnx
from openatac.export.tracing import trace
from tests.helpers.images.random_images import random_images


def write_onnx(net, path, image_shape, **described):
    """Write an initialised network or (symbol, arrays) as the ONNX file ``path``."""
    symbol, arrays = net if isinstance(net, tuple) else trace(net)
    write_model(to_onnx(symbol, arrays, image_shape, **described), str(path))


def run_onnx(path: str, images: np.ndarray) -> np.ndarray:
    """Return the outputs of the file ``path`` for float32 images (B, C, H, W)."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': np.ascontiguousarray(images, np.float32)})[0]


def difference(net, path, image_shape, batches):
    """Return the largest difference between the network's outputs and the file's."""
    found = []
    for batch in batches:
        x = random_images(batch, *image_shape, seed=batch)
        expected = net(x).asnumpy()
        output = run_onnx(path, x.asnumpy())
        assert output.shape == expected.shape and np.isfinite(expected).all() and np.ptp(expected) > 0
        found.append(np.abs(output - expected).max())
    return max(found)

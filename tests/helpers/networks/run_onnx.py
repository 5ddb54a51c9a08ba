"""Run an ONNX file in ONNX Runtime, or more exactly than ONNX Runtime does."""
import numpy as np


def run_onnx(path: str, images: np.ndarray) -> np.ndarray:
    """Return the outputs of the file ``path`` for float32 images (B, C, H, W)."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': np.ascontiguousarray(images, np.float32)})[0]


def run_onnx_in_float64(path: str, images: np.ndarray) -> np.ndarray:
    """Return the float64 outputs of ONNX's own reference implementation, without float32's rounding."""
    import onnx
    from onnx.reference import ReferenceEvaluator
    model = onnx.load(str(path))
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute
                 if attribute.type == onnx.AttributeProto.TENSOR]
    for tensor in [*model.graph.initializer, *constants]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return ReferenceEvaluator(model).run(None, {'data': images.astype(np.float64)})[0]

"""What all ONNX files of openatac have in common, whichever library wrote them.

A file has one input, ``data`` (N, C, H, W), and one output, ``output`` (N, classes), for any number N of
images. Everything is computed in float32, unless it was quantized.
"""
from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from openatac.errors import OpenatacError
from openatac.files.writing import replace_file, writing
from openatac.graph.nodes import SymbolicShape
from openatac.system.optional_packages import pip_install

# From ONNX 1.12 (June 2022), which ONNX Runtime reads from 1.12 on, as do other readers of that time.
# Newer opsets have operators for Gelu, Mish and GroupNormalization, which would save a few nodes.
OPSET = 17
IR_VERSION = 8


def write_model(model: Any, path: str) -> None:
    """Write an onnx.ModelProto to ``path`` atomically; raise OpenatacError if that fails."""
    with writing(path), replace_file(path) as temporary, open(temporary, 'wb') as handle:
        handle.write(model.SerializeToString())


def import_onnx_package(package: str) -> Any:
    """Import the optional package 'onnx' or 'onnxruntime'; raise OpenatacError if that fails."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise OpenatacError(f'ONNX files need {package} ({error}): run {pip_install(package)}') from None


def description(model: Any, precision: str) -> str:
    """Return the doc_string of an onnx.ModelProto: its name, input and output, and the given precision."""
    graph = model.graph

    def text(tensor: Any) -> str:
        sizes = (size.dim_param or size.dim_value for size in tensor.type.tensor_type.shape.dim)
        return f'{tensor.name} ({", ".join(map(str, sizes))})'

    return (f'{graph.name}: {text(graph.input[0])} to {text(graph.output[0])}, for any number N of images; '
            f'{precision}')


def set_metadata(model: Any, metadata: Mapping[str, Any]) -> None:
    """Set the metadata_props of an onnx.ModelProto: strings unchanged, other values as JSON."""
    import_onnx_package('onnx').helper.set_model_props(model, {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()})


def other_size(image_shape: SymbolicShape) -> SymbolicShape:
    """Return a larger image shape with other proportions, to test networks that accept any size."""
    channels, height, width = image_shape
    return channels, height + 32, width + 64

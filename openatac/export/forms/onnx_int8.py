"""The INT8 form as ONNX."""
from __future__ import annotations

from typing import Any

from openatac.export.forms.base import TracedNetwork
from openatac.export.forms.onnx import Onnx


class OnnxInt8(Onnx):
    """PREFIX-int8.onnx, quantized by ONNX Runtime; see `openatac.export.onnx.int8`."""

    name = 'onnx-int8'
    suffixes = ('-int8.onnx',)
    runtime = 'onnxruntime-int8'
    flags = ('--onnx', '--int8')
    precisions = ('float32',)
    is_quantized = True

    def model(self, network: TracedNetwork) -> Any:
        from openatac.export.onnx.int8 import quantize_onnx
        return quantize_onnx(super().model(network), network.calibration)

"""ONNX files in ONNX Runtime and in OpenVINO, with as many threads as MXNet."""
from __future__ import annotations

import numpy as np

from openatac.export.forms.onnx import Onnx, OnnxInt8
from openatac.export.runtimes.base import Runtime
from openatac.files.reading import check_input
from openatac.runtime.threads import set_threads, thread_count


class OnnxRuntime(Runtime):
    """ONNX Runtime."""

    name = 'onnxruntime'
    form = Onnx()
    package = 'onnxruntime'
    no_package = "ONNX Runtime is not installed: run pip install 'openatac[onnx]'"

    def load(self) -> None:
        set_threads()
        from openatac.export.onnx.file import OnnxNetwork
        self._net = OnnxNetwork(*self.form.files(self.prefix))

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._net(images)


class OnnxRuntimeInt8(OnnxRuntime):
    """The quantized file."""

    name = 'onnxruntime-int8'
    form = OnnxInt8()


class OpenVino(Runtime):
    """OpenVINO."""

    name = 'openvino'
    form = Onnx()
    package = 'openvino'
    no_package = "OpenVINO is not installed: run pip install 'openatac[openvino]'"

    def load(self) -> None:
        import openvino
        path, = self.form.files(self.prefix)
        check_input(path)
        self._net = openvino.Core().compile_model(path, 'CPU', {
            'INFERENCE_NUM_THREADS': int(thread_count()[0]),
            'INFERENCE_PRECISION_HINT': 'f32'})  # the default is bfloat16 where the processor has it

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._net(images)[0]


class OpenVinoInt8(OpenVino):
    """The quantized file."""

    name = 'openvino-int8'
    form = OnnxInt8()

"""Runtimes that run ONNX files in ONNX Runtime and OpenVINO, with as many threads as MXNet."""
from __future__ import annotations

from typing import Any

import numpy as np

from openatac.export.forms.onnx_forms import OnnxForm, OnnxInt8Form
from openatac.export.runtimes.base import CPU, Runtime
from openatac.files.reading import check_input
from openatac.graph.nodes import INPUT
from openatac.system.optional_packages import pip_install
from openatac.system.threads import thread_count

CUDA = 'CUDAExecutionProvider'
MAX_ONNX_BYTES = 2 ** 31  # the limit of a file that contains its weights


class OnnxRuntime(Runtime):
    """Runs the float32 file in ONNX Runtime."""

    name = 'onnxruntime'
    form = OnnxForm()
    package = 'onnxruntime'
    no_package = f'ONNX Runtime is not installed: run {pip_install("onnxruntime")}'
    _session: Any  # onnxruntime.InferenceSession

    @classmethod
    def has_device(cls, device: str) -> bool:
        import onnxruntime
        return device == CPU or (device.startswith('cuda') and CUDA in onnxruntime.get_available_providers())

    def load(self) -> None:
        import onnxruntime
        path, = self.form.files(self.prefix)
        check_input(path, MAX_ONNX_BYTES)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count().threads
        kind, _, index = self.device.partition(':')
        providers = [] if kind == CPU else [(CUDA, {'device_id': index or '0'})]
        self._session = onnxruntime.InferenceSession(path, options, [*providers, 'CPUExecutionProvider'])

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(None, {INPUT: np.ascontiguousarray(images, np.float32)})[0]


class OnnxRuntimeInt8(OnnxRuntime):
    """Runs the quantized file in ONNX Runtime."""

    name = 'onnxruntime-int8'
    form = OnnxInt8Form()


class OpenVino(Runtime):
    """Runs the float32 file in OpenVINO."""

    name = 'openvino'
    form = OnnxForm()
    package = 'openvino'
    no_package = f'OpenVINO is not installed: run {pip_install("openvino")}'
    _net: Any  # openvino.CompiledModel

    def load(self) -> None:
        import openvino
        path, = self.form.files(self.prefix)
        check_input(path, MAX_ONNX_BYTES)
        self._net = openvino.Core().compile_model(path, 'CPU', {
            'INFERENCE_NUM_THREADS': thread_count().threads,
            'INFERENCE_PRECISION_HINT': 'f32'})  # the default is bfloat16 on processors that support it

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._net(images)[0]


class OpenVinoInt8(OpenVino):
    """Runs the quantized file in OpenVINO."""

    name = 'openvino-int8'
    form = OnnxInt8Form()

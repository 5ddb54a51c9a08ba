"""The ONNX forms: float32, and quantized."""
from __future__ import annotations

from typing import Any

from openatac.export.forms.base import Form, Load, NetworkToWrite
from openatac.export.parity import ParityCheck, ParityError
from openatac.files.export_file_names import INT8


class OnnxForm(Form):
    """PREFIX.onnx, in float32, with the manifest as metadata; see `openatac.export.onnx.files`."""

    name = 'onnx'
    suffixes: tuple[str, ...] = ('.onnx',)
    runtime = 'onnxruntime'
    flags: tuple[str, ...] = ('--onnx',)
    help = 'also write OUT.onnx, for ONNX Runtime and others'
    needs_mxnet = False

    def write(self, network: NetworkToWrite, prefix: str) -> None:
        from openatac.export.onnx.files import write_model
        path, = self.files(prefix)
        write_model(self.model(network), path)

    def model(self, network: NetworkToWrite) -> Any:
        """Return the onnx.ModelProto of the network."""
        manifest = network.manifest._replace(precision='float32')
        metadata = {key: value for key, value in manifest._asdict().items()
                    if key not in ('reports', 'openatac', 'sha256')}
        if network.symbol is None:
            from openatac.export.onnx.torch_export import module_to_onnx
            return module_to_onnx(network.net, manifest.image_shape, metadata, network.settings.dynamic_size)
        from openatac.export.onnx.gluon_export import to_onnx
        return to_onnx(network.symbol, network.arrays, manifest.image_shape, manifest.model, metadata,
                       network.settings.dynamic_size)

    def details(self, network: NetworkToWrite, prefix: str, check: ParityCheck, load: Load) -> dict[str, Any]:
        """Compare the file with the network on another image size too, if it accepts any size."""
        if not network.settings.dynamic_size:
            return {}
        from openatac.export.onnx.files import other_size
        shape = other_size(network.manifest.image_shape)
        other = ParityCheck(network.function, shape)
        difference = other.difference(load(network.manifest._replace(image_shape=shape)))
        tolerance = self.tolerance(network.manifest)
        if tolerance is not None and not other.allows(difference, tolerance):
            raise ParityError(f'for images of {shape[1]} x {shape[2]} pixels, '
                              f'{other.describe(difference, tolerance)}')
        return {'other_size': shape[1:], 'other_size_difference': difference}


class OnnxInt8Form(OnnxForm):
    """PREFIX-int8.onnx, quantized by ONNX Runtime; see `openatac.export.int8.onnx_quantization`."""

    name = 'onnx-int8'
    suffixes = (INT8 + '.onnx',)
    runtime = 'onnxruntime-int8'
    flags = ('--onnx', '--int8')
    needs_mxnet = True
    precisions = ('float32',)
    is_quantized = True

    def model(self, network: NetworkToWrite) -> Any:
        from openatac.export.int8.onnx_quantization import quantize_onnx
        return quantize_onnx(super().model(network), network.calibration_images)

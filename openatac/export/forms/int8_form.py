"""The INT8 form: quantized symbol files."""
from __future__ import annotations

from openatac.export.forms.base import Form, NetworkToWrite
from openatac.files.export_file_names import INT8, PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.zoo.weights.parameter_files import without_kind


class Int8Form(Form):
    """PREFIX-int8-symbol.json and PREFIX-int8-0000.params; see `openatac.export.int8.symbol_quantization`."""

    name = 'int8'
    suffixes = (INT8 + SYMBOL_SUFFIX, INT8 + PARAMS_SUFFIX)
    runtime = 'int8'
    flags = ('--int8',)
    help = 'also write OUT-int8-..., quantized, for CPUs; with --onnx also OUT-int8.onnx'
    precisions = ('float32',)
    is_quantized = True

    def write(self, network: NetworkToWrite, prefix: str) -> None:
        from openatac.export.int8.symbol_quantization import quantize_symbol
        from openatac.graph.symbol_files import with_kinds, write_symbol_files
        arrays = {without_kind(key): array for key, array in network.arrays.items()}
        symbol, quantized = quantize_symbol(network.symbol, arrays, network.calibration_images,
                                            network.settings.calibration_method)
        write_symbol_files(prefix + INT8, symbol, with_kinds(symbol, quantized))

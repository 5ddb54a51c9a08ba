"""INT8 as ONNX: a float32 network quantized by onnxruntime.quantization, static, per channel, as QDQ.

QDQ files contain float32 operators between QuantizeLinear and DequantizeLinear, which runtimes convert to
8-bit operators. ONNX Runtime lacks an 8-bit BatchNormalization, and float32 between 8-bit operators costs
more than it saves. So each BatchNormalization is folded into the preceding convolution or, without one (as in
pre-activation networks), written as a depthwise 1x1 convolution: one weight per channel, which per-channel
quantization preserves exactly.

Weights use 7 of the 8 bits: without VNNI, x86-64 adds two 8-bit products in 16 bits, which 8-bit weights
overflow silently, and a file should be correct on every machine. The measurements are in
docs/explanation/int8.md.
"""
from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from openatac.errors import OpenatacError, first_line
from openatac.export.onnx.files import description, import_onnx_package
from openatac.graph.nodes import INPUT

QUANTIZED = ('Conv', 'Relu', 'LeakyRelu', 'Sigmoid', 'Mul', 'Add', 'MaxPool', 'Concat')
# As a share of the largest weight. A channel that training has switched off has weights near zero and a
# larger bias, which overflows 32 bits in steps of such weights. This is less than 8-bit rounding.
MIN_WEIGHT = 1e-3


def quantize_onnx(model: Any, batches: Iterable[np.ndarray]) -> Any:
    """Quantize a float32 network to INT8.

    Parameters
    ----------
    model : onnx.ModelProto
        As returned by `openatac.export.onnx.gluon_export.to_onnx`.
    batches : iterable of float32 (B, C, H, W)
        Inputs that determine each tensor's range, from its extremes.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    OpenatacError
        If onnxruntime is missing, or cannot quantize the network.
    """
    onnx, onnxruntime = import_onnx_package('onnx'), import_onnx_package('onnxruntime')
    from onnxruntime import quantization
    prepared = _without_batch_norms(onnx, model)
    with tempfile.TemporaryDirectory() as folder, _silence():
        source, target = (os.path.join(folder, name) for name in ('float32.onnx', 'int8.onnx'))
        onnx.save(prepared, source)
        try:
            quantization.quantize_static(
                source, target, _reader(quantization, batches), quantization.QuantFormat.QDQ,
                per_channel=True, reduce_range=True, activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8, op_types_to_quantize=list(QUANTIZED),
                nodes_to_exclude=_float_nodes(prepared))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise OpenatacError(f'ONNX Runtime {onnxruntime.__version__} cannot quantize this network '
                                f'({first_line(error)}): update it, or leave out --onnx or --int8') from None
        quantized = onnx.load(target)
    quantized.producer_name = model.producer_name
    quantized.producer_version = model.producer_version
    quantized.doc_string = description(model, 'in INT8 where that is fast')
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantized)
    return quantized


def _without_batch_norms(onnx: Any, model: Any) -> Any:
    """Copy the model, with BatchNormalizations of images folded into convolutions or replaced by them."""
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    graph = prepared.graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    uses = Counter(tensor for node in graph.node for tensor in node.input)
    producers = {node.output[0]: node for node in graph.node}
    ranks = {info.name: len(info.type.tensor_type.shape.dim) for info in (*graph.input, *graph.value_info)}
    for norm in [node for node in graph.node if node.op_type == 'BatchNormalization']:
        x, output = norm.input[0], norm.output[0]
        if ranks.get(x) != 4:
            continue
        scale, shift = _scale_and_shift(norm, values)
        weight = scale.reshape(-1, 1, 1, 1)
        conv = producers.get(x)
        if conv is not None and conv.op_type == 'Conv' and uses[x] == 1:
            if len(conv.input) == 3:
                shift = shift + values[conv.input[2]] * scale
            weight = values[conv.input[1]] * weight
            conv.output[0] = output
            graph.node.remove(norm)
        else:
            conv = norm
            conv.CopyFrom(onnx.helper.make_node('Conv', [x], [output], name=norm.name, group=len(scale),
                                                kernel_shape=[1, 1]))
        conv.input[1:] = [output + '_weight', output + '_bias']
        values.update(zip(conv.input[1:], (_without_tiny_channels(weight), shift)))
    used = {tensor for node in graph.node for tensor in node.input}
    del graph.initializer[:]
    graph.initializer.extend(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
                             for name, value in values.items() if name in used)
    return prepared


def _scale_and_shift(norm: Any, values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return a BatchNormalization's equivalent scale and shift per channel."""
    gamma, beta, mean, variance = (values[name] for name in norm.input[1:])
    epsilon, = (attribute.f for attribute in norm.attribute)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _without_tiny_channels(weight: np.ndarray) -> np.ndarray:
    """Return a copy of ``weight`` (C, ...) in which no channel is smaller than `MIN_WEIGHT` allows."""
    rows = weight.astype(np.float32).reshape(len(weight), -1)
    largest = np.abs(rows).max()
    rows[np.abs(rows).max(axis=1) < MIN_WEIGHT * largest, 0] = MIN_WEIGHT * largest
    return rows.reshape(weight.shape)


def _float_nodes(model: Any) -> list[str]:
    """Return the nodes to leave in float32, as in `openatac.export.int8.symbol_quantization.float_nodes`."""
    sizes = {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim[2:]]
             for info in model.graph.value_info}
    return [node.name for node in model.graph.node if np.prod(sizes.get(node.output[0], [])) == 1]


def _reader(quantization: Any, batches: Iterable[np.ndarray]) -> Any:
    """Wrap the batches in a reader for ONNX Runtime."""
    inputs = ({INPUT: batch} for batch in batches)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(inputs, None)

    return Reader()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence ONNX Runtime's advice: it logs to the root logger, and configures it if nobody else has."""
    handler = logging.NullHandler()
    disabled = logging.root.manager.disable
    logging.root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(None), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(disabled)
        logging.root.removeHandler(handler)

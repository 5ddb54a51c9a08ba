"""Writes networks as ONNX files, for ONNX Runtime and others.

The operators are written with onnx.helper. Correcting MXNet 1.9.1's own exporter from outside would have
taken more code: its imports and opset are wrong, it lists weights as inputs, its Reshapes do not take a batch
of any size, and it lacks many operators of the attention blocks.

A file has one input, ``data`` (N, C, H, W), and one output, ``output`` (N, classes), for any number N of
images; everything is computed in float32. `openatac.export.onnx.operators` has its operators.
"""
from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError, first_line
from openatac.export.forms.base import prefix_of
from openatac.export.onnx.graph import OnnxGraph, Shape, Tensor
from openatac.export.onnx.operators import convert
from openatac.files.checksums import check_files
from openatac.files.reading import check_input
from openatac.files.writing import replace_file, writing
from openatac.graph.constants import fold_constants
from openatac.graph.nodes import Node
from openatac.version import __version__

# Those of ONNX 1.12 (June 2022), which ONNX Runtime reads from 1.12 on, as do other readers of that time.
# Newer opsets have Gelu, Mish and GroupNormalization as operators of their own, which save a few nodes.
OPSET = 17
IR_VERSION = 8
LARGEST_FILE = 2 ** 31  # bytes, of a file that holds its own weights


def to_onnx(symbol: mx.sym.Symbol, params: Mapping[str, Any], image_shape: tuple[int, ...],
            name: str = 'network', metadata: Mapping[str, Any] | None = None) -> Any:
    """Convert a network to ONNX.

    Parameters
    ----------
    symbol : mxnet.Symbol
        Of one output and the input ``data``.
    params : {name: NDArray or NumPy array}
        Arguments and auxiliary states, with or without ``arg:`` and ``aux:`` before their names.
    image_shape : (C, H, W)
        Of one image.
    name : str
        Of the graph.
    metadata : {str: value}, optional
        For the file's metadata_props: strings as they are, other values as JSON.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    OpenatacError
        If onnx is missing, an operator is unknown, or the arguments do not fit each other.
    """
    onnx = import_onnx('onnx')
    graph = OnnxGraph(inputs=('data', 'output'))
    arrays = {key.split(':', 1)[-1]: array.asnumpy() if isinstance(array, mx.nd.NDArray) else array
              for key, array in params.items()}
    nodes = fold_constants(symbol, arrays, image_shape)
    for node in nodes:
        graph.label = node.name
        tensor = graph.tensors[node] = _tensor(graph, node)
        graph.shapes[tensor] = node.shape
    graph.finish(tensor, 'output')
    model = _model(onnx, graph, ('N', *image_shape), node.shape, name, metadata or {})
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_onnx(net: mx.gluon.HybridBlock | mx.sym.Symbol, path: str, image_shape: tuple[int, ...],
               params: Mapping[str, Any] | None = None, name: str = 'network',
               metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network to the file ``path``, whole or not at all.

    Parameters
    ----------
    net : HybridBlock or Symbol
        A block with values, or a Symbol with its ``params``.
    path : str
    image_shape, params, name, metadata
        See `to_onnx`.

    Raises
    ------
    OpenatacError
        As in `to_onnx`, and if the file cannot be written.
    """
    if not isinstance(net, mx.sym.Symbol):
        params = {parameter.name: parameter._reduce() for parameter in net.collect_params().values()}
        outputs = net(mx.sym.var('data'))
        net = outputs if isinstance(outputs, mx.sym.Symbol) else mx.sym.Group(list(outputs))
    write_model(to_onnx(net, params or {}, image_shape, name, metadata), path)


def write_model(model: Any, path: str) -> None:
    """Write an onnx.ModelProto to the file ``path``, whole or not at all; OpenatacError if that fails."""
    with writing(path), replace_file(path) as temporary, open(temporary, 'wb') as handle:
        handle.write(model.SerializeToString())


class OnnxNetwork:
    """An ONNX file in ONNX Runtime, on the CPU: called with a batch (B, C, H, W) it returns the outputs.

    Parameters
    ----------
    path : str

    Attributes
    ----------
    metadata : {str: str}
        The file's metadata_props.

    Raises
    ------
    OpenatacError
        If onnxruntime is missing or cannot load the file.
    """

    def __init__(self, path: str) -> None:
        onnxruntime = import_onnx('onnxruntime')
        options = onnxruntime.SessionOptions()
        if os.environ.get('OMP_NUM_THREADS', '').isdigit():  # as many as MXNet uses
            options.intra_op_num_threads = int(os.environ['OMP_NUM_THREADS'])
        if not os.path.isfile(path):
            raise OpenatacError(f'there is no ONNX file {path}')
        check_files(prefix_of(str(path)), [str(path)])
        try:
            check_input(path, LARGEST_FILE)
            self._session = onnxruntime.InferenceSession(str(path), options, ['CPUExecutionProvider'])
        except Exception as error:  # the errors of ONNX Runtime have no base class of their own
            raise OpenatacError(f'ONNX Runtime {onnxruntime.__version__} cannot load {path} '
                                f'({first_line(error)})') from None
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        self._image_shape = tuple(self._session.get_inputs()[0].shape[1:])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if np.shape(images)[1:] != self._image_shape:
            raise ValueError(f'images must be of shape (B, {", ".join(map(str, self._image_shape))}), not '
                             f'{np.shape(images)}')
        return self._session.run(None, {'data': np.ascontiguousarray(images, np.float32)})[0]


def import_onnx(package: str) -> Any:
    """Import the optional package 'onnx' or 'onnxruntime'; OpenatacError if that fails."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise OpenatacError(f"ONNX files need {package} ({error}): "
                            "run pip install 'openatac[onnx]'") from None


def _tensor(graph: OnnxGraph, node: Node) -> Tensor:
    """Add one node to the graph; return the tensor of its output."""
    if node.is_variable:
        return node.name if node.value is None else graph.parameter(node.name, node.value)
    if node.value is not None:
        return graph.constant(node.value)
    return convert(graph, node, [graph.tensors[source.node] for source in node.inputs])


def _model(onnx: Any, graph: OnnxGraph, image_shape: Shape, output_shape: Shape, name: str,
           metadata: Mapping[str, Any]) -> Any:
    """Build the ModelProto of a finished `OnnxGraph`."""
    def info(tensor: Tensor, shape: Shape) -> Any:
        return onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape)

    def text(shape: Shape) -> str:
        return f'({", ".join(map(str, shape))})'

    inside = {operator.output for operator in graph.operators} - {'output'}
    proto = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
         for kind, inputs, output, attributes in graph.operators],
        name, [info('data', image_shape)], [info('output', output_shape)],
        [onnx.numpy_helper.from_array(value, tensor) for tensor, value in graph.constants.items()],
        value_info=[info(tensor, graph.shapes[tensor]) for tensor in graph.shapes if tensor in inside])
    model = onnx.helper.make_model(
        proto, producer_name='openatac', producer_version=__version__, ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid('', OPSET)],
        doc_string=f'{name}: data {text(image_shape)} to output {text(output_shape)}, for any number N of '
                   'images; all in float32')
    onnx.helper.set_model_props(model, {key: value if isinstance(value, str) else json.dumps(value)
                                        for key, value in metadata.items()})
    return model

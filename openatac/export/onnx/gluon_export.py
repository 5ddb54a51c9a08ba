"""Convert Gluon networks to ONNX.

The operators are written with onnx.helper. Patching MXNet 1.9.1's own exporter would have taken more code:
its imports and opset are wrong, it lists weights as inputs, its Reshapes fix the batch size, and it lacks
many operators of the attention blocks.

The operators are in `openatac.export.onnx.operators`, and what the files have in common with those of PyTorch
networks in `openatac.export.onnx.files`.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from openatac.errors import OpenatacError
from openatac.export.onnx.files import (
    IR_VERSION,
    OPSET,
    description,
    import_onnx_package,
    other_size,
    set_metadata,
)
from openatac.export.onnx.graph import OUTPUT, OnnxGraph, Tensor
from openatac.export.onnx.operators import convert
from openatac.graph.nodes import INPUT, Node, SymbolicShape
from openatac.version import __version__
from openatac.zoo.weights.parameter_files import without_kind

if TYPE_CHECKING:
    import mxnet as mx


def to_onnx(symbol: mx.sym.Symbol, params: Mapping[str, Any], image_shape: SymbolicShape,
            name: str = 'network', metadata: Mapping[str, Any] | None = None, dynamic_size: bool = False
            ) -> Any:
    """Convert a network to ONNX.

    Parameters
    ----------
    symbol : mxnet.Symbol
        A symbol with one output and the input ``data``.
    params : {name: NDArray or NumPy array}
        Arguments and auxiliary states, with or without the prefixes ``arg:`` and ``aux:``.
    image_shape : (C, H, W)
        The shape of one image.
    name : str
        The name of the graph.
    metadata : {str: value}, optional
        The file's metadata_props: strings unchanged, other values as JSON.
    dynamic_size : bool
        Whether the file accepts images of any height and width.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    OpenatacError
        If onnx is missing, an operator is unknown, the arguments do not fit together, or ``dynamic_size`` is
        set for a network that depends on the image size.
    """
    onnx = import_onnx_package('onnx')
    arrays = {without_kind(key): array.asnumpy() if hasattr(array, 'asnumpy') else array
              for key, array in params.items()}
    graph, output_shape = _graph(symbol, arrays, image_shape)
    shape: tuple[Any, ...] = ('N', *image_shape)
    if dynamic_size:
        _check_size_does_not_matter(graph, symbol, arrays, image_shape)
        shape = ('N', image_shape[0], 'H', 'W')
        graph.shapes = {}
    model = _model(onnx, graph, shape, output_shape, name, metadata or {})
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _graph(symbol: mx.sym.Symbol, arrays: dict[str, np.ndarray], image_shape: SymbolicShape
           ) -> tuple[OnnxGraph, SymbolicShape]:
    """Return the graph of a network for images of the given shape, and the shape of its output."""
    from openatac.graph.constants import fold_constants  # needs MXNet
    graph = OnnxGraph()
    for node in fold_constants(symbol, arrays, image_shape):
        graph.label = node.name
        tensor = graph.tensors[node] = _tensor(graph, node)
        graph.shapes[tensor] = node.shape
    graph.finish(tensor)
    return graph, node.shape


def _check_size_does_not_matter(graph: OnnxGraph, symbol: mx.sym.Symbol, arrays: dict[str, np.ndarray],
                                image_shape: SymbolicShape) -> None:
    """Raise OpenatacError unless another image size gives the same graph."""
    try:
        other, _ = _graph(symbol, arrays, other_size(image_shape))
    except OpenatacError as error:
        raise OpenatacError(f'the network does not take images of any size ({error}): leave out '
                            '--dynamic-size') from None
    constants = {name for name in graph.constants.keys() & other.constants.keys()
                 if not np.array_equal(graph.constants[name], other.constants[name])}
    different = {one.kind for one, another in zip(graph.operators, other.operators)
                 if one != another or constants.intersection(one.inputs)}
    if different or len(graph.operators) != len(other.operators):
        raise OpenatacError('the network does not take images of any size: some of its operators depend on '
                            f'it{" (" + ", ".join(sorted(different)) + ")" if different else ""}, as those '
                            'of GroupNorm and self-attention do; leave out --dynamic-size')


def _tensor(graph: OnnxGraph, node: Node) -> Tensor:
    """Add one node to the graph; return its output tensor."""
    if node.is_variable:
        return node.name if node.value is None else graph.parameter(node.name, node.value)
    if node.value is not None:
        return graph.constant(node.value)
    return convert(graph, node, [graph.tensors[source.node] for source in node.inputs])


def _model(onnx: Any, graph: OnnxGraph, image_shape: SymbolicShape, output_shape: SymbolicShape, name: str,
           metadata: Mapping[str, Any]) -> Any:
    """Build the ModelProto of a finished `OnnxGraph`."""
    def info(tensor: Tensor, shape: SymbolicShape) -> Any:
        return onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape)

    inside = {operator.output for operator in graph.operators} - {OUTPUT}
    proto = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
         for kind, inputs, output, attributes in graph.operators],
        name, [info(INPUT, image_shape)], [info(OUTPUT, output_shape)],
        [onnx.numpy_helper.from_array(value, tensor) for tensor, value in graph.constants.items()],
        value_info=[info(tensor, graph.shapes[tensor]) for tensor in graph.shapes if tensor in inside])
    model = onnx.helper.make_model(
        proto, producer_name='openatac', producer_version=__version__, ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid('', OPSET)])
    model.doc_string = description(model, 'all in float32')
    set_metadata(model, metadata)
    return model

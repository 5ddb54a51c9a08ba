"""Convert MXNet's operators to ONNX's, opset 17: the table CONVERTERS, with a function for each group.

A converter takes the `OnnxGraph`, the `Node` and the node's inputs as tensors of the graph, and returns the
tensor for the node's output. Constants are folded earlier (see `openatac.graph.constants`). To add an
operator, add a line to a table.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from openatac.errors import OpenatacError
from openatac.export.onnx.graph import OnnxGraph, Tensor
from openatac.graph.nodes import Node

FLOAT, INT64 = 1, 7  # onnx.TensorProto's numbers
LAST = 2 ** 63 - 1   # the end of a slice without an end


def convert(graph: OnnxGraph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Add operators to ``graph`` that compute ``node`` from the tensors ``inputs``; return the output.

    Raises
    ------
    OpenatacError
        For an operator or a setting without a converter.
    """
    if node.operator not in CONVERTERS:
        raise OpenatacError(f'the operator {node.operator} (node {node.name}) cannot be written as ONNX: '
                            'openatac/export/onnx/operators.py has no converter for it')
    return CONVERTERS[node.operator](graph, node, *inputs)


def _only(node: Node, attribute: str, *known: Any) -> Any:
    """Return the attribute's value; raise OpenatacError unless it is one of the ``known`` ones."""
    value = node.get(attribute)
    if value not in known:
        raise OpenatacError(f'{attribute}={value} of {node.operator} (node {node.name}) cannot be written as '
                            f'ONNX, only {", ".join(map(str, known))}')
    return value


# -------------------------------------------------------------------------- element by element

def _same(operator: str, graph: OnnxGraph, node: Node, *inputs: Tensor) -> Tensor:
    return graph.add(operator, *inputs)


def _with_scalar(operator: str, graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add(operator, x, graph.constant(float(node.get('scalar'))))


def _scalar_with(operator: str, graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add(operator, graph.constant(float(node.get('scalar'))), x)


def _pass(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return x


def _dropout(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    _only(node, 'mode', 'training')
    return x


def _cast(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    _only(node, 'dtype', 'float16', 'float32', 'float64')  # everything in the file is float32
    return x


def _clip(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add('Clip', x, *(graph.constant(float(node.get(key))) for key in ('a_min', 'a_max')))


def _filled(value: float, graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add('Expand', graph.constant(value), graph.add('Shape', x))


def _activation(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add(ACTIVATION_OPERATORS[_only(node, 'act_type', *ACTIVATION_OPERATORS)], x)


def _leaky_relu(graph: OnnxGraph, node: Node, x: Tensor, slopes: Tensor = '') -> Tensor:
    act_type = _only(node, 'act_type', 'leaky', 'prelu', 'elu', 'selu', 'gelu')
    if act_type in ('leaky', 'elu'):
        return graph.add('Elu' if act_type == 'elu' else 'LeakyRelu', x, alpha=float(node.get('slope')))
    if act_type == 'selu':
        return graph.add('Selu', x)  # ONNX's default constants match MXNet's
    if act_type == 'prelu':
        shape = node.inputs[1].shape
        return graph.add('PRelu', x, graph.reshape(slopes, shape, shape + (1,) * (len(node.shape) - 2)))
    # x (1 + erf(x / sqrt 2)) / 2, in the order that ONNX Runtime fuses into one operator
    error = graph.add('Erf', graph.add('Div', x, graph.constant(math.sqrt(2))))
    return graph.add('Mul', graph.add('Mul', x, graph.add('Add', error, graph.constant(1.0))),
                     graph.constant(0.5))


# -------------------------------------------------------------------------- shapes and indices

def _view(graph: OnnxGraph, node: Node, x: Tensor, *_: Tensor) -> Tensor:
    """Reshape, Flatten, expand_dims, reshape_like ...: the same values in the shape that MXNet infers."""
    return graph.reshape(x, node.inputs[0].shape, node.shape)


def _transpose(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.transpose(x, node.get('axes') or range(len(node.shape))[::-1])


def _swap_axes(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    axes = list(range(len(node.shape)))
    first, second = node.get('dim1'), node.get('dim2')
    axes[first], axes[second] = axes[second], axes[first]
    return graph.transpose(x, axes)


def _slice_axis(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return _sliced(graph, node, x, [node.get('axis')], [node.get('begin')], [node.get('end')], [1])


def _slice(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    begins, ends = node.get('begin'), node.get('end')
    steps = [step or 1 for step in node.get('step') or [1] * len(begins)]
    return _sliced(graph, node, x, range(len(begins)), begins, ends, steps)


def _slice_like(graph: OnnxGraph, node: Node, x: Tensor, like: Tensor) -> Tensor:
    before, after = node.inputs[0].shape, node.shape
    axes = [axis for axis in range(len(after)) if after[axis] != before[axis]]
    return _sliced(graph, node, x, axes, [0] * len(axes), [after[axis] for axis in axes], [1] * len(axes))


def _sliced(graph: OnnxGraph, node: Node, x: Tensor, axes: Sequence[int], begins: Sequence[int | None],
            ends: Sequence[int | None], steps: Sequence[int]) -> Tensor:
    """Slice ``x`` from begin to end on each of ``axes``; None means the end of the axis."""
    if node.shape == node.inputs[0].shape and min(steps, default=1) > 0:
        return x
    first = [0 if step > 0 else LAST for step in steps]
    last = [LAST if step > 0 else -LAST for step in steps]
    begins = [default if begin is None else begin for begin, default in zip(begins, first)]
    ends = [default if end is None else end for end, default in zip(ends, last)]
    return graph.add('Slice', x, *(graph.constant(part, np.int64) for part in (begins, ends, axes, steps)))


def _concat(graph: OnnxGraph, node: Node, *parts: Tensor) -> Tensor:
    return graph.add('Concat', *parts, axis=node.get('dim'))


def _blocks(operator: str, graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    return graph.add(operator, x, blocksize=node.get('block_size'))


def _upsampling(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    _only(node, 'sample_type', 'nearest')
    _only(node, 'num_args', 1)
    return graph.add('Resize', x, '', graph.constant([1.0, 1.0] + 2 * [float(node.get('scale'))]),
                     mode='nearest', coordinate_transformation_mode='asymmetric', nearest_mode='floor')


def _bilinear_resize(graph: OnnxGraph, node: Node, x: Tensor, like: Tensor | None = None) -> Tensor:
    scales = [1.0, 1.0, *map(_scale, node.inputs[0].shape[2:], node.shape[2:])]
    return graph.add('Resize', x, '', graph.constant(scales), mode='linear', coordinate_transformation_mode=(
        'align_corners' if node.get('align_corners') else 'half_pixel'))


def _scale(before: int, after: int) -> np.float32:
    """Return a ratio whose product with ``before``, rounded down as in ONNX, is ``after``."""
    scale = np.float32(after / before)
    return scale if int(np.float32(before) * scale) == after else np.nextafter(scale, np.float32(np.inf))


def _im2col(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    """Build the windows (B, C k, n) of k pixels with a convolution that picks each pixel of a window."""
    shape = node.inputs[0].shape
    kernel = tuple(node.get('kernel'))
    pixels = math.prod(kernel)
    planes = graph.reshape(x, shape, (-1, 1, *shape[2:]))
    windows = graph.add('Conv', planes, graph.constant(np.eye(pixels).reshape(pixels, 1, *kernel)),
                        **_window(node, kernel))
    return graph.reshape(windows, (), (-1, *node.shape[1:]))


# ------------------------------------------------------------------------- layers of a network

def _window(node: Node, kernel: tuple[int, ...]) -> dict[str, Any]:
    """Return ONNX's attributes for the window of a convolution or pooling."""
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    return {'kernel_shape': list(kernel), 'strides': list(node.get('stride') or ones),
            'dilations': list(node.get('dilate') or ones), 'pads': 2 * list(node.get('pad') or zeros)}


def _convolution(graph: OnnxGraph, node: Node, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    _only(node, 'layout', None, 'None', 'NCW', 'NCHW', 'NCDHW')
    return graph.add('Conv', x, weight, *bias, group=node.get('num_group'),
                     **_window(node, tuple(node.get('kernel'))))


def _fully_connected(graph: OnnxGraph, node: Node, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    shape = node.inputs[0].shape
    length = node.inputs[1].shape[1]
    rows = shape[0] if node.get('flatten') or len(shape) == 2 else -1
    product = graph.add('Gemm', graph.reshape(x, shape, (rows, length)), weight, *bias, transB=1)
    return product if len(node.shape) == 2 else graph.reshape(product, (), node.shape)


def _batch_norm(graph: OnnxGraph, node: Node, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor,
                variance: Tensor) -> Tensor:
    """Add a BatchNormalization; with fix_gamma, use 1 in place of gamma, as MXNet does."""
    _only(node, 'axis', 1)
    if node.get('fix_gamma'):
        gamma = graph.constant(np.ones(node.inputs[1].shape))
    return graph.add('BatchNormalization', x, gamma, beta, mean, variance,
                     epsilon=float(node.get('eps')))


def _group_norm(graph: OnnxGraph, node: Node, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Add an InstanceNormalization over groups as channels: MXNet uses one scale and shift per group."""
    groups = node.get('num_groups')
    shape = node.shape
    planes = graph.reshape(x, shape, (shape[0], groups, math.prod(shape[1:]) // groups))
    normal = graph.add('InstanceNormalization', planes, gamma, beta, epsilon=float(node.get('eps')))
    return graph.reshape(normal, (), shape)


def _pooling(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    pool_type = _only(node, 'pool_type', 'max', 'avg', *(['sum'] if node.get('global_pool') else []))
    _only(node, 'layout', None, 'None', 'NCW', 'NCHW', 'NCDHW')
    if pool_type == 'sum':
        return graph.add('ReduceSum', x, graph.constant(range(2, len(node.shape)), np.int64), keepdims=1)
    if node.get('global_pool'):
        return graph.add('GlobalMaxPool' if pool_type == 'max' else 'GlobalAveragePool', x)
    window = _window(node, tuple(node.get('kernel')))
    del window['dilations']
    before, after = _pads(node, window)
    if pool_type == 'max':
        return graph.add('MaxPool', x, **dict(window, pads=before + after))
    if node.get('count_include_pad') in (None, True) and any(before):
        # Padding counts, but the overhang of the last window does not, so make the padding part of the image.
        x = graph.add('Pad', x, graph.constant([0, 0, *before, 0, 0, *before], np.int64))
        after = [end - begin for begin, end in zip(before, after)]
        before = [0] * len(before)
    return graph.add('AveragePool', x, **dict(window, pads=before + after))


def _pads(node: Node, window: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the padding before and after each axis that gives MXNet's windows."""
    before = window['pads'][:len(window['strides'])]
    after = []
    for size, count, kernel, stride, pad in zip(node.inputs[0].shape[2:], node.shape[2:],
                                                window['kernel_shape'], window['strides'], before):
        after.append(max(pad, (count - 1) * stride + kernel - size - pad))
    return before, after


def _adaptive_pooling(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    """Add ONNX's average pooling, if all windows have the same size."""
    before, after = node.inputs[0].shape[2:], node.shape[2:]
    if any(size % count for size, count in zip(before, after)):
        raise OpenatacError(f'AdaptiveAvgPooling2D (node {node.name}) of {before} to {after} pixels cannot '
                            'be written as ONNX, since its windows overlap')
    if after == (1, 1):
        return graph.add('GlobalAveragePool', x)
    sides = [size // count for size, count in zip(before, after)]
    return graph.add('AveragePool', x, kernel_shape=sides, strides=sides)


def _mean(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    _only(node, 'exclude', False)
    axis = node.get('axis')
    axes = [axis] if isinstance(axis, int) else list(axis or range(len(node.inputs[0].shape)))
    mean = graph.add('ReduceMean', x, axes=axes, keepdims=int(node.get('keepdims')))
    return mean if len(axes) < len(node.inputs[0].shape) else graph.reshape(mean, (), node.shape)


def _softmax(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    _only(node, 'temperature', None, 1.0)
    return graph.add('Softmax', x, axis=node.get('axis'))


# ----------------------------------------------------------------------------- matrix products

def _dot(graph: OnnxGraph, node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Sum over the last axis of ``a`` and the first of ``b``, or the opposite ones where transposed."""
    left, right = (source.shape for source in node.inputs)
    if node.get('transpose_a'):
        a = graph.transpose(graph.reshape(a, left, (left[0], -1)), (1, 0))
        left = (-1, left[0])
    if node.get('transpose_b') and len(right) > 1:
        b = graph.transpose(graph.reshape(b, right, (-1, right[-1])), (1, 0))
    else:
        b = graph.reshape(b, right, (right[0], -1) if len(right) != 2 else right)
    product = graph.add('MatMul', a, b)
    ready = len(node.shape) == len(left) and len(right) == 2
    return product if ready else graph.reshape(product, (), node.shape)


def _batch_dot(graph: OnnxGraph, node: Node, a: Tensor, b: Tensor) -> Tensor:
    rank = len(node.shape)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    return graph.add('MatMul', *(graph.transpose(x, swapped) if node.get(flag) else x
                                 for x, flag in ((a, 'transpose_a'), (b, 'transpose_b'))))


# -------------------------------------------------------------------- maxima and their indices

def _argmax(graph: OnnxGraph, node: Node, x: Tensor) -> Tensor:
    indices = graph.add('ArgMax', x, axis=node.get('axis'), keepdims=int(node.get('keepdims')))
    return graph.add('Cast', indices, to=FLOAT)


def _pick(graph: OnnxGraph, node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Pick the elements at ``indices``, which are floats in MXNet; ReduceMax if they come from argmax."""
    data = node.inputs[0]
    source = node.inputs[1].node
    shape = data.shape
    axis = _only(node, 'axis', *range(-len(shape), len(shape))) % len(shape)
    if source.operator == 'argmax' and source.inputs[0] == data and source.get('axis') % len(shape) == axis:
        return graph.add('ReduceMax', x, axes=[axis], keepdims=int(node.get('keepdims')))
    one = (*shape[:axis], 1, *shape[axis + 1:])
    indices = graph.add('Cast', graph.reshape(indices, source.shape, one), to=INT64)
    if _only(node, 'mode', 'clip', 'wrap') == 'wrap':
        indices = graph.add('Mod', indices, graph.constant(shape[axis], np.int64))
    else:
        indices = graph.add('Clip', indices, *(graph.constant(end, np.int64) for end in (0, shape[axis] - 1)))
    return graph.reshape(graph.add('GatherElements', x, indices, axis=axis), one, node.shape)


# ---------------------------------------------------------------------------------- the tables

ACTIVATION_OPERATORS = {'relu': 'Relu', 'sigmoid': 'Sigmoid', 'tanh': 'Tanh', 'softrelu': 'Softplus',
                        'softsign': 'Softsign'}
SAME = {
    'relu': 'Relu', 'sigmoid': 'Sigmoid', 'tanh': 'Tanh', 'softsign': 'Softsign', 'exp': 'Exp', 'log': 'Log',
    'sqrt': 'Sqrt', 'abs': 'Abs', 'negative': 'Neg', 'sin': 'Sin', 'cos': 'Cos', 'erf': 'Erf',
    'elemwise_add': 'Add', 'elemwise_sub': 'Sub', 'elemwise_mul': 'Mul', 'elemwise_div': 'Div',
    '_maximum': 'Max', '_minimum': 'Min',
    'broadcast_add': 'Add', 'broadcast_sub': 'Sub', 'broadcast_mul': 'Mul', 'broadcast_div': 'Div',
    'broadcast_maximum': 'Max', 'broadcast_minimum': 'Min',
}
WITH_SCALAR = {'_plus_scalar': 'Add', '_minus_scalar': 'Sub', '_mul_scalar': 'Mul', '_div_scalar': 'Div',
               '_power_scalar': 'Pow', '_maximum_scalar': 'Max', '_minimum_scalar': 'Min'}
SCALAR_WITH = {'_rminus_scalar': 'Sub', '_rdiv_scalar': 'Div', '_rpower_scalar': 'Pow'}
VIEWS = ('Reshape', 'Flatten', 'expand_dims', 'squeeze', 'reshape_like')

CONVERTERS: dict[str, Any] = {
    **{name: functools.partial(_same, operator) for name, operator in SAME.items()},
    **{name: functools.partial(_with_scalar, operator) for name, operator in WITH_SCALAR.items()},
    **{name: functools.partial(_scalar_with, operator) for name, operator in SCALAR_WITH.items()},
    **dict.fromkeys(VIEWS, _view),
    '_copy': _pass, 'BlockGrad': _pass, 'Dropout': _dropout, 'Cast': _cast,
    'square': lambda graph, node, x: graph.add('Mul', x, x), 'clip': _clip,
    'ones_like': functools.partial(_filled, 1.0), 'zeros_like': functools.partial(_filled, 0.0),
    'Activation': _activation, 'LeakyReLU': _leaky_relu,
    'transpose': _transpose, 'SwapAxis': _swap_axes, 'Concat': _concat,
    'slice': _slice, 'slice_axis': _slice_axis, 'slice_like': _slice_like,
    'space_to_depth': functools.partial(_blocks, 'SpaceToDepth'),
    'depth_to_space': functools.partial(_blocks, 'DepthToSpace'), 'im2col': _im2col,
    'UpSampling': _upsampling, '_contrib_BilinearResize2D': _bilinear_resize,
    'Convolution': _convolution, 'FullyConnected': _fully_connected,
    'BatchNorm': _batch_norm, 'GroupNorm': _group_norm,
    'Pooling': _pooling, '_contrib_AdaptiveAvgPooling2D': _adaptive_pooling, 'mean': _mean,
    'softmax': _softmax,
    'dot': _dot, 'batch_dot': _batch_dot, 'argmax': _argmax, 'pick': _pick,
}

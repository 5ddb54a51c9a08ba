"""MXNet's operators in PyTorch, with MXNet's attributes and defaults.

An entry of OPERATORS is either a function of the operator's inputs whose keyword arguments are named after
MXNet's attributes, or a pair: a function that takes attributes by position after the inputs, and their names.
To support another operator, add one line. The functions repeat MXNet's defaults, because modules that users
saved call them without arguments. Known deviations, all deliberate:

- SELU's gradient below zero is correct; MXNet 1.9.1's is off by up to 0.09.
- So is average pooling's where a window of the convention 'full' overhangs the edge and counts its padding;
  MXNet's oneDNN divides by the whole window.
- argmax returns integers; MXNet returns floats.
- A BatchNorm's running statistics are updated in the forward pass, as MXNet's are on a GPU; on the CPU MXNet
  updates them in the backward pass, and for a BatchNorm on the image only if the image requires a gradient.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from openatac.errors import OpenatacError
from openatac.graph.nodes import Node
from openatac.pytorch.nn.normalisation import normalise_as_mxnet

F = torch.nn.functional

Sizes = tuple[int, ...]  # one per axis


# -------------------------------------------------------------------------------------- layers

def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = (), pad: Sizes = (),
                 dilate: Sizes = (), num_group: int = 1) -> Tensor:
    function = (torch.conv1d, torch.conv2d, torch.conv3d)[x.dim() - 3]
    return function(x, weight, bias, stride or 1, pad or 0, dilate or 1, num_group)


def _fully_connected(x: Tensor, weight: Tensor, bias: Tensor | None = None, flatten: bool = True) -> Tensor:
    return F.linear(x.flatten(1) if flatten else x, weight, bias)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, moving_mean: Tensor, moving_var: Tensor,
               training: bool, eps: float = 1e-3, momentum: float = 0.9, fix_gamma: bool = True,
               use_global_stats: bool = False, axis: int = 1) -> Tensor:
    """Normalise; in training, with `normalise_as_mxnet`."""
    x = x.movedim(axis, 1)
    scale = None if fix_gamma else gamma
    if training and not use_global_stats:
        y = normalise_as_mxnet(x, scale, beta, moving_mean, moving_var, momentum, eps)
    else:
        y = F.batch_norm(x, moving_mean, moving_var, scale, beta, False, 0, eps)
    return y.movedim(1, axis)


def _group_norm(x: Tensor, gamma: Tensor, beta: Tensor, num_groups: int = 1, eps: float = 1e-5) -> Tensor:
    """Normalise each group, with one gamma and one beta per group, not per channel."""
    y = F.group_norm(x, num_groups, eps=eps).reshape(x.shape[0], num_groups, -1)
    return (y * gamma[:, None] + beta[:, None]).reshape(x.shape)


def _dropout(x: Tensor, training: bool, p: float = 0.5) -> Tensor:
    return F.dropout(x, p, training)


# ------------------------------------------------------------------------------------- pooling

def _max_pool(x: Tensor, kernel: Sizes = (), stride: Sizes = (), pad: Sizes = (), global_pool: bool = False,
              pooling_convention: str = 'valid') -> Tensor:
    if global_pool:  # max, unlike amax, sends its gradient to one of several equal values
        return x.flatten(2).max(2).values.reshape(x.shape[:2] + (1,) * (x.dim() - 2))
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.dim() - 3]
    return function(x, kernel, stride or 1, pad or 0, ceil_mode=pooling_convention == 'full')


def _avg_pool(x: Tensor, kernel: Sizes = (), stride: Sizes = (), pad: Sizes = (), global_pool: bool = False,
              pooling_convention: str = 'valid', count_include_pad: bool = True) -> Tensor:
    if global_pool:
        return x.mean(tuple(range(2, x.dim())), keepdim=True)
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.dim() - 3]
    return function(x, kernel, stride or 1, pad or 0, pooling_convention == 'full', count_include_pad)


def _sum_pool(x: Tensor, kernel: Sizes = (), stride: Sizes = (), pad: Sizes = (), global_pool: bool = False,
              pooling_convention: str = 'valid') -> Tensor:
    if global_pool:
        return x.sum(tuple(range(2, x.dim())), keepdim=True)
    if x.dim() == 3:  # PyTorch supports divisor_override from two dimensions on
        wide = _sum_pool(x[:, :, None], (1, *kernel), (1, *(stride or (1,))), (0, *(pad or (0,))), False,
                         pooling_convention)
        return wide[:, :, 0]
    function = (F.avg_pool2d, F.avg_pool3d)[x.dim() - 4]
    return function(x, kernel, stride or 1, pad or 0, pooling_convention == 'full', divisor_override=1)


def _upsample_nearest(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode='nearest')


def _resize_like(x: Tensor, like: Tensor, align_corners: bool = True) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode='bilinear', align_corners=align_corners)


# ---------------------------------------------------------------------------------- arithmetic

def _maximum(left: Tensor, right: Tensor) -> Tensor:
    """Return the larger; where both are equal, the gradient goes to the left one."""
    return torch.where(left >= right, left, right)


def _minimum(left: Tensor, right: Tensor) -> Tensor:
    return torch.where(left <= right, left, right)


def _dot(left: Tensor, right: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Sum over left's last (transposed: first) axis and right's first (transposed: last) one."""
    left = left.movedim(0, -1) if transpose_a else left
    right = right.movedim(-1, 0) if transpose_b else right
    product = left @ right.reshape(right.shape[0], -1)
    return product.reshape(left.shape[:-1] + right.shape[1:])


def _batch_dot(left: Tensor, right: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    return torch.bmm(left.mT if transpose_a else left, right.mT if transpose_b else right)


def _mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    y = x.mean(axis if isinstance(axis, int) else tuple(axis or range(x.dim())), keepdims)
    return y if y.dim() else y.reshape(1)


# -------------------------------------------------------------------------------------- shapes

def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _reshape(x: Tensor, shape: Sizes) -> Tensor:
    """0 keeps an axis, -1 infers one, -2 keeps all others, -3 merges two, -4 splits one into two."""
    codes = list(shape)
    new, axis = [], 0
    while codes:
        code = codes.pop(0)
        if code == -4:
            parts = [codes.pop(0), codes.pop(0)]
            other = parts[1 - parts.index(-1)] if -1 in parts else None
            new += [x.shape[axis] // other if part == -1 else part  # type: ignore[operator]
                    for part in parts]
        elif code == -3:
            new.append(x.shape[axis] * x.shape[axis + 1])
        elif code == -2:
            new += x.shape[axis:]
        else:
            new.append(x.shape[axis] if code == 0 else code)
        axis += {-3: 2, -2: x.dim()}.get(code, 1)
    return x.reshape(new)


def _reshape_like(x: Tensor, like: Tensor, lhs_begin: int = 0, lhs_end: int | None = None, rhs_begin: int = 0,
                  rhs_end: int | None = None) -> Tensor:
    """Reshape the axes from lhs_begin to lhs_end to like's from rhs_begin to rhs_end."""
    rest = () if lhs_end is None else x.shape[lhs_end:]
    return x.reshape(x.shape[:lhs_begin] + like.shape[rhs_begin:rhs_end] + rest)


def _transpose(x: Tensor, axes: Sizes = ()) -> Tensor:
    return x.permute(axes or tuple(reversed(range(x.dim()))))


def _broadcast_axis(x: Tensor, axis: Any, size: Any) -> Tensor:
    """Repeat x along ``axis`` (one or several), where it has one element."""
    axes, sizes = ((axis,), (size,)) if isinstance(axis, int) else (axis, size)
    shape = list(x.shape)
    for repeated, length in zip(axes, sizes):
        shape[repeated] = length
    return x.expand(shape)


def _concat(*arrays: Tensor, dim: int = 1) -> Tensor:
    return torch.cat(arrays, dim)


def _space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """(B, C, H, W) to (B, block^2 C, H/block, W/block), with the position in the block first."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // block_size, block_size, width // block_size, block_size)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block_size, width // block_size)


def _depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """Invert `space_to_depth`."""
    batch, _, height, width = x.shape
    x = x.reshape(batch, block_size, block_size, -1, height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, -1, height * block_size, width * block_size)


def _im2col(x: Tensor, kernel: Sizes, stride: Sizes = (), dilate: Sizes = (), pad: Sizes = ()) -> Tensor:
    return F.unfold(x, kernel, dilate or 1, pad or 0, stride or 1)


# ----------------------------------------------------------------------------- parts of arrays

def _slice_ranges(x: Tensor, begin: Any, end: Any) -> Tensor:
    return x[tuple(map(slice, begin, end))]


def _slice_axis(x: Tensor, axis: int, begin: int, end: int | None) -> Tensor:
    ranges = [slice(None)] * x.dim()
    ranges[axis] = slice(begin, end)
    return x[tuple(ranges)]


def _slice_like(x: Tensor, like: Tensor, axes: Sizes = ()) -> Tensor:
    """Return the first elements along ``axes`` (all, if none are given), as many as ``like`` has."""
    for axis in axes or range(x.dim()):
        x = x.narrow(axis, 0, like.shape[axis])
    return x


def _take(x: Tensor, index: Tensor, mode: str = 'clip') -> Tensor:
    """Return rows of x; an index out of range is clipped to the nearest row, or wraps around with 'wrap'."""
    index = index.long()
    return x[index.remainder(x.shape[0]) if mode == 'wrap' else index.clamp(0, x.shape[0] - 1)]


def _pick(x: Tensor, index: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """Return one element along ``axis`` for each index."""
    index = index.long() if index.dim() == x.dim() else index.long().unsqueeze(axis)
    picked = x.gather(axis, index.clamp(0, x.shape[axis] - 1))
    return picked if keepdims else picked.squeeze(axis)


def _arange_like(x: Tensor, axis: int) -> Tensor:
    return torch.arange(x.shape[axis], dtype=x.dtype, device=x.device)


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x.to(getattr(torch, dtype))


# --------------------------------------------------------------------------------------- table

OPERATORS: dict[str, Any] = {
    'Convolution': _convolution, 'FullyConnected': _fully_connected, 'BatchNorm': batch_norm,
    'GroupNorm': _group_norm, 'Dropout': _dropout, 'Pooling max': _max_pool, 'Pooling avg': _avg_pool,
    'Pooling sum': _sum_pool, 'UpSampling nearest': _upsample_nearest,
    '_contrib_AdaptiveAvgPooling2D': (F.adaptive_avg_pool2d, ('output_size',)),
    '_contrib_BilinearResize2D like': _resize_like,

    'Activation relu': torch.relu, 'Activation sigmoid': torch.sigmoid, 'Activation tanh': torch.tanh,
    'Activation softrelu': F.softplus, 'Activation softsign': F.softsign,
    'LeakyReLU leaky': (F.leaky_relu, ('slope',)), 'LeakyReLU elu': (F.elu, ('slope',)),
    'LeakyReLU prelu': torch.prelu, 'LeakyReLU selu': torch.selu, 'LeakyReLU gelu': F.gelu,

    'relu': torch.relu, 'sigmoid': torch.sigmoid, 'tanh': torch.tanh, 'exp': torch.exp, 'log': torch.log,
    'sin': torch.sin, 'cos': torch.cos, 'sqrt': torch.sqrt, 'square': torch.square, 'abs': torch.abs,
    'negative': torch.neg, 'erf': torch.erf, 'mean': _mean, 'softmax': (torch.softmax, ('axis',)),
    'clip': (torch.clamp, ('a_min', 'a_max')), 'ones_like': torch.ones_like,
    'zeros_like': torch.zeros_like, '_copy': torch.clone, 'BlockGrad': torch.detach, 'Cast': _cast,

    'elemwise_add': torch.add, 'elemwise_sub': torch.sub, 'elemwise_mul': torch.mul,
    'elemwise_div': torch.div, 'broadcast_add': torch.add, 'broadcast_sub': torch.sub,
    'broadcast_mul': torch.mul, 'broadcast_div': torch.div, '_maximum': _maximum, '_minimum': _minimum,
    'broadcast_maximum': _maximum, 'broadcast_minimum': _minimum, 'dot': _dot, 'batch_dot': _batch_dot,
    '_plus_scalar': torch.add, '_minus_scalar': torch.sub, '_rminus_scalar': torch.rsub,
    '_mul_scalar': torch.mul, '_div_scalar': torch.div, '_power_scalar': torch.pow,

    'Flatten': _flatten, 'Reshape': _reshape, 'reshape_like': _reshape_like, 'transpose': _transpose,
    'expand_dims': (torch.unsqueeze, ('axis',)), 'SwapAxis': (torch.transpose, ('dim1', 'dim2')),
    'broadcast_axis': _broadcast_axis, 'Concat': _concat, 'space_to_depth': _space_to_depth,
    'depth_to_space': _depth_to_space, 'im2col': _im2col, 'slice': _slice_ranges,
    'slice_axis': _slice_axis, 'slice_like': _slice_like, 'take': _take, 'pick': _pick,
    'argmax': (torch.argmax, ('axis', 'keepdims')), '_contrib_arange_like': _arange_like,
}

# The attribute that distinguishes operators of one name.
KINDS = {'Activation': 'act_type', 'LeakyReLU': 'act_type', 'Pooling': 'pool_type',
         'UpSampling': 'sample_type', '_contrib_BilinearResize2D': 'mode'}

# Attributes that the arrays' shapes imply (a convolution's kernel), or that only tune MXNet.
IGNORED = {'kernel', 'num_filter', 'num_hidden', 'num_args', 'no_bias', 'workspace', 'cudnn_tune',
           'cudnn_off', 'is_int'}

# Attributes for which the function above covers only these values.
COVERED = {
    ('Convolution', 'layout'): ('NCHW', 'NCW', 'NCDHW', None), ('BatchNorm', 'output_mean_var'): (False,),
    ('mean', 'exclude'): (False,), ('Pooling', 'layout'): ('NCHW', 'NCW', 'NCDHW', None),
    ('Pooling', 'count_include_pad'): (True, False),
    ('Pooling', 'pooling_convention'): ('valid', 'full'), ('UpSampling', 'num_args'): (1,),
    ('Dropout', 'mode'): ('training',), ('Dropout', 'axes'): ((), None),
    ('softmax', 'temperature'): (1, None), ('softmax', 'use_length'): (False,), ('softmax', 'dtype'): (None,),
    ('Reshape', 'reverse'): (False,), ('slice', 'step'): ((), None), ('take', 'axis'): (0,),
    ('take', 'mode'): ('clip', 'wrap'), ('pick', 'mode'): ('clip',),
}


def find_operator(node: Node) -> tuple[Callable, tuple[Any, ...], dict[str, Any]]:
    """Return a node's computation: (function, operands after its inputs, keyword arguments).

    Raises
    ------
    OpenatacError
        If the table does not cover the operator or its attributes; the message names it.
    """
    operator = node.operator
    kind = KINDS.get(node.operator)
    key = f'{operator} {node.get(kind)}' if kind else operator
    if key not in OPERATORS:
        raise OpenatacError(f'PyTorch has no counterpart of the operator {key} (of {node.name}): '
                            'openatac.conversion.operators.OPERATORS lists those that exist')
    entry = OPERATORS[key]
    function, positional = entry if isinstance(entry, tuple) else (entry, ())
    if 'scalar' in node.attributes:
        positional = ('scalar',)
    attributes = {name: value for name, value in node.settings().items() if name not in (kind, *positional)}
    settings = _settings(function)
    for name, value in attributes.items():
        known = name in settings or name in IGNORED
        if value not in COVERED.get((operator, name), (value,) if known else ()):
            raise OpenatacError(f'PyTorch has no counterpart of the operator {key} (of {node.name}) with '
                                f'{name}={value}')
    keywords = {name: value for name, value in attributes.items() if name in settings}
    return function, tuple(map(node.get, positional)), keywords


def takes_training(function: Callable) -> bool:
    """Return whether the operator behaves differently in training."""
    return 'training' in _settings(function)


def _settings(function: Callable) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # a PyTorch built-in, used for an operator without attributes
        return ()

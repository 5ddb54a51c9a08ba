"""INT8: post-training quantization of a network, calibrated on images, for CPUs with oneDNN.

MXNet's own `mxnet.contrib.quantization` does the work: convolutions run on 8-bit integers, and each 8-bit
tensor's range comes from its values on calibration images. This module decides which operators stay in
float32, based on the measurements in docs/explanation/int8.md.
"""
from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.contrib import quantization

from openatac.console.streams import silenced_stderr
from openatac.errors import OpenatacError, ParameterFileError, last_line
from openatac.export.int8.calibration_methods import CALIBRATION_METHODS
from openatac.graph.fusion import separate_shortcuts
from openatac.graph.nodes import INPUT, Graph, Node, SymbolicShape, UnknownShapesError
from openatac.graph.symbol_block import NDArrays, symbol_block

HISTOGRAM_BINS = 2001  # from -threshold to threshold; search time grows with their square
PIECE = 8    # images calibrated at a time, since the outputs of all layers are in memory

Histogram = tuple[Any, ...]  # (counts, edges, minimum, maximum, threshold)


def quantize_symbol(symbol: mx.sym.Symbol, params: NDArrays, batches: Iterable[np.ndarray],
                    method: str = CALIBRATION_METHODS[0], excluded: Collection[str] | None = None
                    ) -> tuple[mx.sym.Symbol, NDArrays]:
    """Quantize a float32 network to INT8.

    Parameters
    ----------
    symbol : mxnet.Symbol
        A symbol with one output and the input ``data``.
    params : {name: NDArray}
        The values of all its other variables.
    batches : iterable of float32 (B, C, H, W)
        A few hundred images, normalised for the network, to calibrate it on.
    method : str
        One of `openatac.export.int8.calibration_methods`.
    excluded : collection of str, optional
        Names of operators of ``symbol`` to leave in float32; by default `float_nodes`.

    Returns
    -------
    (Symbol, {name: NDArray})
        The quantized network, which `SymbolBlock.imports` can load.

    Raises
    ------
    ValueError
        For an unknown method or operator.
    OpenatacError
        If there are no images, they have the wrong shape, or MXNet cannot quantize the network.
    """
    if method not in CALIBRATION_METHODS:
        raise ValueError(f'the calibration must be one of {", ".join(CALIBRATION_METHODS)}, not {method!r}')
    batches = iter(batches)
    missing = sorted(set(symbol.list_inputs()) - {INPUT, *params})
    if missing:
        raise ParameterFileError.missing(missing[0])
    first = next(batches, None)
    if first is None or not len(first):
        raise OpenatacError('there are no images to calibrate with: give a few hundred that resemble '
                            'the training images')
    try:
        fused = separate_shortcuts(symbol).get_backend_symbol('MKLDNN_QUANTIZE')
        if excluded is None:
            excluded = float_nodes(fused, params, _shape(first))
        return _quantize(fused, params, itertools.chain([first], batches), _shape(first), method,
                         _kept_in_float32(fused, excluded))
    except mx.MXNetError as error:
        raise OpenatacError(f'this network cannot be quantized: MXNet says {last_line(error)}') from None


def float_nodes(symbol: mx.sym.Symbol, params: NDArrays, image_shape: SymbolicShape) -> list[str]:
    """Return the operators to leave in float32 by default, which output one vector per image.

    They are the global pooling, the dense layers after it and, in blocks with a global gate, the gate's
    layers. They take almost no time, but MXNet's INT8 pooling gives an average the scale of its input, and no
    later layer evens out their errors.

    Parameters
    ----------
    symbol : mxnet.Symbol
        Plain or fused.
    params : {name: NDArray}
        The values of its variables, as for `quantize_symbol`.
    image_shape : (C, H, W)
    """
    graph = Graph.of(symbol)
    known = {name: params[name].shape for name in symbol.list_arguments() if name != INPUT}
    try:
        graph.infer_shapes(**{INPUT: (1, *image_shape), **known})
    except (mx.MXNetError, UnknownShapesError):
        raise OpenatacError(f'images of shape {tuple(image_shape)} do not fit the network') from None
    return [node.name for node in graph.nodes()
            if not node.is_variable and len(node.shapes) == 1 and np.prod(node.shape[2:]) == 1]


def _quantize(fused: mx.sym.Symbol, params: NDArrays, batches: Iterable[np.ndarray], shape: SymbolicShape,
              method: str, kept: Sequence[str]) -> tuple[mx.sym.Symbol, NDArrays]:
    arguments, states = ({name: params[name] for name in names if name != INPUT}
                         for names in (fused.list_arguments(), fused.list_auxiliary_states()))
    settings = {'quantized_dtype': 'auto', 'calib_mode': 'naive', 'logger': None}
    with silenced_stderr():  # it reports that only ReLU activations support INT8
        graph, _, _, collector = quantization.quantize_graph(
            fused, arguments, states, excluded_sym_names=kept, quantize_granularity='channel-wise',
            **settings)
    if not collector.include_layer:
        raise OpenatacError('no operator of this network is left to quantize: exclude fewer')
    histograms = _histograms(fused, params, collector.include_layer, batches, shape)
    # Pass MXNet the ranges as if they were extremes: its own entropy calibration fails with NumPy 2.
    collector.min_max_dict = {name: _range(histogram, method) for name, histogram in histograms.items()}
    graph, arguments, states = quantization.calib_graph(graph, arguments, states, collector, **settings)
    graph = graph.get_backend_symbol('MKLDNN_QUANTIZE')
    arrays = {**arguments, **states}
    return graph, {name: arrays[name] for name in graph.list_inputs() if name != INPUT}


def _histograms(symbol: mx.sym.Symbol, params: NDArrays, wanted: Collection[str],
                batches: Iterable[np.ndarray], shape: SymbolicShape) -> dict[str, Histogram]:
    """Return a histogram over all images for each of the ``wanted`` outputs."""
    internals = symbol.get_internals()
    histograms: dict[str, Histogram] = {}
    names = [name for name in internals.list_outputs() if name in wanted]
    network = symbol_block(mx.sym.Group([internals[name] for name in names]), params)
    network.hybridize()
    for batch in batches:
        if _shape(batch) != shape:
            raise OpenatacError('all images to calibrate with must have the shape of the first, '
                                f'{shape}, not {_shape(batch)}')
        for start in range(0, len(batch), PIECE):
            outputs = network(mx.nd.array(batch[start:start + PIECE]))
            for name, output in zip(names, [outputs] if len(names) == 1 else outputs):
                histograms[name] = _count(name, output.asnumpy(), histograms.get(name))
    return histograms


def _count(name: str, values: np.ndarray, before: Histogram | None) -> Histogram:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise OpenatacError(f'the network computes {high if np.isfinite(low) else low:g} at {name}: its '
                            'parameters or the images are damaged')
    threshold = max(-low, high, 1e-6)  # if all values are zero, any non-zero scale will do
    if before is not None:
        return quantization.combine_histogram(before, values, low, high, threshold)
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS, range=(-threshold, threshold))
    return counts, edges, low, high, threshold


def _range(histogram: Histogram, method: str) -> tuple[float, float]:
    """Return (low, high) of the 8-bit range: 0 to 255 if nothing is negative, else -127 to 127."""
    counts, edges, low, high, threshold = histogram
    if method == 'entropy':
        best, _ = mx.nd.contrib.calibrate_entropy(hist=mx.nd.array(counts), hist_edges=mx.nd.array(edges),
                                                  num_quantized_bins=511 if low >= 0 else 255)
        threshold = float(best.asscalar())
        return (0.0 if low >= 0 else -threshold), threshold
    return low, max(high, low + 1e-6)


def _kept_in_float32(symbol: mx.sym.Symbol, excluded: Collection[str]) -> list[str]:
    """Return the operators of the fused ``symbol`` to leave in float32, given the plain ones ``excluded``."""
    kept: list[str] = []
    known: set[str] = set()
    for node in Graph.of(symbol).nodes():
        members = [node, *(inner for graph in node.subgraphs for inner in graph.nodes())]
        names = {member.name for member in members if not member.is_variable}
        if not names.isdisjoint(excluded) or any(map(_lacks_int8, members)):
            kept.append(node.name)
        known |= names
    if not known.issuperset(excluded):
        raise ValueError(f'excluded: the network has no operator {min(set(excluded) - known)!r}')
    return kept


def _lacks_int8(node: Node) -> bool:
    """Return whether MXNet 1.9.1 fails on this operator in INT8, although it supports similar ones."""
    if node.operator == 'Convolution':
        return len(node.get('kernel')) != 2  # 1-D fails because of its layout
    if node.operator == 'LeakyReLU':
        return node.get('act_type') == 'gelu'  # after a convolution: 29% error
    return node.operator == 'elemwise_mul'  # fails for inputs that are never negative, such as gates


def _shape(batch: np.ndarray) -> SymbolicShape:
    """Return (C, H, W) of a batch of images; raise OpenatacError for anything else."""
    if batch.ndim != 4 or batch.dtype != np.float32:
        raise OpenatacError('images to calibrate with must be normalised float32 arrays (B, C, H, W), not '
                            f'{batch.dtype} {batch.shape}')
    return batch.shape[1:]

"""A training step as one graph: the logits of a batch, and the gradients of all parameters.

MXNet derives gradients automatically, but does not let us choose how to compute the gradient of one operator.
For networks that gate their feature maps, x * sigmoid(h), this costs a sixth of the step on a CPU: MXNet
1.9.1 multiplies outside oneDNN's array layout, so every map is converted out of it and back. oneDNN does
offer the product under another name, though: given the gradient x at its output, softplus(h) = log(1 +
exp(h)) has the gradient x * sigmoid(h) at its input. So this module writes out the gradients as MXNet would,
except that gates use oneDNN's operators, which compute the same values.
"""
from __future__ import annotations

import collections
import itertools
from collections.abc import Callable

import mxnet as mx

from openatac.graph.gates import find_gates
from openatac.graph.nodes import INPUT, Graph, Node, Output, SymbolicShape

# For each operator: MXNet's operator for its gradients, and that operator's inputs after the gradient of the
# output, as a function of the operator's inputs and outputs (source: the operators' FGradient in MXNet
# 1.9.1).
_GRADIENTS = {
    'Convolution': ('_backward_Convolution', lambda inputs, outputs: inputs),
    'FullyConnected': ('_backward_FullyConnected', lambda inputs, outputs: inputs[:2]),
    'BatchNorm': ('_backward_BatchNorm', lambda inputs, outputs: outputs[1:3] + inputs),
    'relu': ('_backward_Activation', lambda inputs, outputs: outputs[:1]),
    'max pooling': ('_backward_Pooling', lambda inputs, outputs: outputs[1:2] + inputs + outputs[:2]),
    '_contrib_AdaptiveAvgPooling2D': ('_backward_contrib_AdaptiveAvgPooling2D', lambda inputs, outputs: []),
    'Flatten': ('_backward_copy', lambda inputs, outputs: []),
    'Dropout': ('_backward_Dropout', lambda inputs, outputs: outputs[1:2]),
}


def step_graph(symbol: mx.sym.Symbol, image_shape: SymbolicShape,
               trained: set[str], updates_statistics: bool) -> tuple[mx.sym.Symbol, list[str]] | None:
    """Return the graph of a training step, and the names of the parameters whose gradients it computes.

    Its inputs are the network's and ``target``, float32 (B, classes), the desired softmax of the logits. The
    loss is the cross entropy against ``target``, summed over the batch.

    Parameters
    ----------
    symbol : mxnet.Symbol
        From ``data``, images (B, *image_shape), to logits (B, classes).
    image_shape : (C, H, W)
    trained : set of str
        The parameters whose gradients are wanted.
    updates_statistics : bool
        Whether a BatchNorm has running statistics to update.

    Returns
    -------
    (Symbol, list of str) or None
        The graph, which outputs the logits, the gradients of these parameters and, if a BatchNorm updates its
        statistics, the gradient of the images. None if the network has no gates, or operators that ATAC's
        networks do not use.
    """
    graph = Graph.of(symbol)
    graph.infer_shapes(**{INPUT: (2, *image_shape)})
    if not _replace_gates(graph):
        return None
    forward = graph.nodes()
    if not all(_kind(node) in _RULES for node in forward):
        return None
    (logits,) = graph.outputs
    gradients = _Gradients()
    target = Output(Node('null', 'target'))
    answer = gradients.operator('log_softmax', [logits], {'axis': '-1'})
    gradients.add(logits, gradients.operator(
        '_backward_log_softmax', [gradients.operator('negative', [target]), answer], {'axis': '-1'}))
    for node in reversed(forward):
        _RULES[_kind(node)](gradients, node)
    by_name = {node.name: gradient for node in forward if (gradient := gradients.find(node))}
    names = [name for name in by_name if name in trained]
    # A BatchNorm on the images needs their gradient: it updates its running statistics in its backward pass,
    # which MXNet would otherwise skip.
    images = [INPUT] if updates_statistics else []
    return Graph([logits, *(by_name[name] for name in (*names, *images))]).symbol(), names


# --------------------------------------------------------------------------------------- gates

def _replace_gates(graph: Graph) -> bool:
    """Replace each x * sigmoid(h) of equal shapes with oneDNN's operator; return whether there are any."""
    gates = [gate for gate in find_gates(graph)
             if _kind(gate.factor.node) == 'sigmoid' and gate.x.shape == gate.factor.shape]
    for x, factor, product in gates:
        h = _without_scale(factor.node.inputs[0])
        product.operator = '_backward_Activation'
        product.attributes = {'act_type': 'softrelu'}
        product.inputs = [x, h, h]
    return bool(gates)


def _without_scale(output: Output) -> Output:
    """Skip a multiplication by 1, as in Swish: x * sigmoid(1 * x)."""
    node = output.node
    return node.inputs[0] if node.operator == '_mul_scalar' and node.get('scalar') == 1 else output


def _gate(gradients: _Gradients, node: Node) -> None:
    x, h, _ = node.inputs
    incoming = gradients.gradient_of(node)
    gradients.add(x, gradients.operator('_backward_Activation', [incoming, h, h], {'act_type': 'softrelu'}))
    product = gradients.operator('elemwise_mul', [incoming, x])
    gradients.add(h, gradients.operator('_backward_Activation', [product, h, h], {'act_type': 'sigmoid'}))


# ----------------------------------------------------------------------------------- gradients

def _kind(node: Node) -> str:
    """Return the operator's name, or its function's name if the operator offers several."""
    if node.operator == 'Activation':
        return node.get('act_type')
    return f"{node.get('pool_type')} pooling" if node.operator == 'Pooling' else node.operator


def _sum(gradients: _Gradients, node: Node) -> None:
    for source in node.inputs:
        gradients.add(source, gradients.gradient_of(node))


def _operator(gradients: _Gradients, node: Node) -> None:
    operator, takes = _GRADIENTS[_kind(node)]
    outputs = [Output(node, index) for index in range(3)]
    gradient = gradients.operator(operator, [gradients.gradient_of(node), *takes(node.inputs, outputs)],
                                  node.attributes, node)
    for index, source in enumerate(node.inputs[:3]):  # a BatchNorm's running statistics have no gradient
        gradients.add(source, Output(gradient.node, index))


_RULES: dict[str, Callable] = {**dict.fromkeys(_GRADIENTS, _operator), 'null': lambda gradients, node: None,
                               'elemwise_add': _sum, '_backward_Activation': _gate}


class _Gradients:
    """Accumulates the gradients of a graph's outputs."""

    def __init__(self) -> None:
        self._numbers = itertools.count()  # for the names of new nodes
        self._parts: dict[Output, list[Output]] = collections.defaultdict(list)  # to be summed

    def operator(self, operator: str, inputs: list[Output], attributes: dict[str, str] | None = None,
                 forward: Node | None = None) -> Output:
        """Add a node and return its first output; MXNet infers shapes from the ``forward`` node, if given."""
        return Output(Node(operator, f'gradient{next(self._numbers)}', inputs, attributes or {},
                           depends_on=[forward] if forward else []))

    def add(self, output: Output, gradient: Output) -> None:
        """Add one of the gradients that reach ``output``."""
        self._parts[output].append(gradient)

    def gradient_of(self, node: Node) -> Output:
        """Return the gradient of the first output of a node on which the loss depends."""
        gradient = self.find(node)
        assert gradient is not None, node.name
        return gradient

    def find(self, node: Node) -> Output | None:
        """Return the gradient of a node's first output; None if the loss does not depend on it."""
        parts = self._parts[Output(node)]
        if len(parts) > 1:
            parts[:] = [self.operator('ElementWiseSum', list(parts), {'num_args': str(len(parts))})]
        return parts[0] if parts else None

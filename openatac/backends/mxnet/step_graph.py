"""A training step as one graph: the logits of a batch, and the gradients of all parameters.

MXNet derives gradients by itself, but cannot be told how to compute that of one operator. For networks that
gate their feature maps, x * sigmoid(h), this costs a sixth of the step on a CPU: MXNet 1.9.1 multiplies
outside of oneDNN's layout of arrays, so that every map is brought out of it and back again. oneDNN has the
product by another name, though: with the gradient x at its output, softplus(h) = log(1 + exp(h)) has the
gradient x * sigmoid(h) at its input. So the gradients are written out here, as MXNet would write them but
for the gates, whose operators are oneDNN's, with the same values.
"""
import collections
import json

from openatac.backends.mxnet.cpu_graph import output_shapes
from openatac.graph.symbol import symbol_of

# For each operator MXNet's operator of its gradients, and what that takes after the gradient of the output: a
# function of the operator's inputs and outputs (source: the operators' FGradient in MXNet 1.9.1).
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


def step_graph(symbol, image_shape, trained):
    """(Symbol, names): ``data`` and ``target`` to logits, the gradients of ``names``, and that of ``data``.

    symbol : Symbol of the logits (B, classes) of ``data``, images (B, *image_shape)
    trained : names of the parameters whose gradients are wanted; ``names`` are those that have one
    target : float32 (B, classes), what the softmax of the logits is to be; the loss is the cross entropy with
        it, summed over the batch

    None for a network without gates, and for one with other operators than ATAC's.
    """
    gated = _exchange_gates(symbol, output_shapes(symbol, image_shape))
    if gated is None:
        return None
    graph = _Graph(gated)
    if not all(_kind(node) in _RULES for node in graph.nodes):
        return None
    forward = range(len(graph.nodes))
    (logits,) = graph.heads
    target = graph.add('null', [], name='target')
    answer = graph.add('log_softmax', [logits], {'axis': '-1'})
    graph.give(logits, graph.add('_backward_log_softmax', [graph.add('negative', [target]), answer],
                                 {'axis': '-1'}))
    for index in reversed(forward):
        _RULES[_kind(graph.nodes[index])](graph, index)
    gradients = {graph.nodes[index]['name']: graph.gradient(index) for index in forward}
    names = [name for name, gradient in gradients.items() if name in trained and gradient]
    # The images' gradient is there for a BatchNorm on them: it updates its running statistics in its backward
    # pass, which MXNet would leave out.
    return graph.symbol([logits] + [gradients[name] for name in (*names, 'data')]), names


# ---------------------------------------------------------------------------------- gates

def _exchange_gates(symbol, shape_of):
    """``symbol`` with oneDNN's operator for each x * sigmoid(h) of one shape; None if it has none."""
    graph = json.loads(symbol.tojson())
    nodes, found = graph['nodes'], False
    for node in nodes:
        if node['op'] not in ('broadcast_mul', 'elemwise_mul'):
            continue
        x, gate = node['inputs']
        shapes = {shape_of.get(nodes[source]['name'] + '_output') for source, *_ in (x, gate)}
        if len(shapes) == 1 and _kind(nodes[gate[0]]) == 'sigmoid':
            h = _without_scale(nodes, *nodes[gate[0]]['inputs'])
            node.update(op='_backward_Activation', attrs={'act_type': 'softrelu'}, inputs=[x, h, h])
            found = True
    return symbol_of(graph, nodes, graph['heads']) if found else None


def _without_scale(nodes, entry):
    """What is multiplied by 1 there: Swish is x * sigmoid(1 * x)."""
    node = nodes[entry[0]]
    return node['inputs'][0] if node['op'] == '_mul_scalar' and float(node['attrs']['scalar']) == 1 else entry


def _gate(graph, index):
    x, h, _ = graph.nodes[index]['inputs']
    head = graph.gradient(index)
    graph.give(x, graph.add('_backward_Activation', [head, h, h], {'act_type': 'softrelu'}))
    product = graph.add('elemwise_mul', [head, x])
    graph.give(h, graph.add('_backward_Activation', [product, h, h], {'act_type': 'sigmoid'}))


# ------------------------------------------------------------------------------ gradients

def _kind(node):
    """The operator's name, or for those that compute one of several functions, the function's."""
    if node['op'] == 'Activation':
        return node['attrs']['act_type']
    return node['attrs']['pool_type'] + ' pooling' if node['op'] == 'Pooling' else node['op']


def _sum(graph, index):
    for entry in graph.nodes[index]['inputs']:
        graph.give(entry, graph.gradient(index))


def _operator(graph, index):
    node = graph.nodes[index]
    operator, takes = _GRADIENTS[_kind(node)]
    inputs, outputs = node['inputs'], [[index, output, 0] for output in range(3)]
    found, *_ = graph.add(operator, [graph.gradient(index), *takes(inputs, outputs)],
                          node.get('attrs'), index)
    for output, entry in enumerate(inputs[:3]):  # a BatchNorm's running statistics have none
        graph.give(entry, [found, output, 0])


_RULES = dict({kind: _operator for kind in _GRADIENTS}, null=lambda graph, index: None, elemwise_add=_sum,
              _backward_Activation=_gate)


class _Graph:
    """The nodes of a symbol and, behind them, those of its gradients.

    An entry, [node, output, 0] as in MXNet's JSON, is one output of one node.
    """

    def __init__(self, symbol):
        self._graph = json.loads(symbol.tojson())
        self.nodes, self.heads = self._graph['nodes'], self._graph['heads']
        self._parts = collections.defaultdict(list)  # the gradients that reach an entry, to be summed

    def add(self, operator, inputs, attributes=None, of=None, name=None):
        """The first output of a new node; by ``of``, the node whose gradient it is, MXNet infers shapes."""
        index = len(self.nodes)
        node = {'op': operator, 'name': name or 'gradient%d' % index, 'inputs': inputs}
        if attributes:
            node['attrs'] = attributes
        if of is not None:
            node['control_deps'] = [of]
        self.nodes.append(node)
        return [index, 0, 0]

    def give(self, entry, gradient):
        self._parts[tuple(entry[:2])].append(gradient)

    def gradient(self, index):
        """The gradient of a node's first output; None if the loss does not depend on it."""
        parts = self._parts[index, 0]
        if len(parts) > 1:
            parts[:] = [self.add('ElementWiseSum', list(parts), {'num_args': str(len(parts))})]
        return parts[0] if parts else None

    def symbol(self, heads):
        return symbol_of(self._graph, self.nodes, heads)

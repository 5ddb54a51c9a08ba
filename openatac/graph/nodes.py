"""A symbol as data: operators that refer to each other, parsed from MXNet's JSON and written as such.

Only `Graph.symbol` and `Graph.infer_shapes` need MXNet.
"""
from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

INPUT = 'data'  # the name of a network's images
MXNET_VERSION = {'mxnet_version': ['int', 10901]}
# How many inputs these operators use by value; they use only the shapes of the others.
_VALUED_INPUTS = {'ones_like': 0, 'zeros_like': 0, '_contrib_arange_like': 0, 'reshape_like': 1,
                  'slice_like': 1}

# MXNet's defaults of attributes, where they are not None or empty; Gluon's for a variable's.
DEFAULTS: dict[str, dict[str, Any]] = {
    'null': {'__lr_mult__': 1.0},
    'BatchNorm': {'eps': 1e-3, 'momentum': 0.9, 'fix_gamma': True, 'axis': 1},
    'GroupNorm': {'num_groups': 1, 'eps': 1e-5}, 'Dropout': {'p': 0.5, 'mode': 'training'},
    'Convolution': {'num_group': 1}, 'FullyConnected': {'flatten': True},
    'Pooling': {'pool_type': 'max', 'pooling_convention': 'valid'},
    '_contrib_BilinearResize2D': {'mode': 'size', 'align_corners': True},
    'LeakyReLU': {'act_type': 'leaky', 'slope': 0.25}, 'softmax': {'axis': -1},
    'Concat': {'dim': 1}, 'SwapAxis': {'dim1': 0, 'dim2': 0}, 'take': {'mode': 'clip'},
    'mean': {'keepdims': False, 'exclude': False}, 'argmax': {'keepdims': False},
    'pick': {'axis': -1, 'keepdims': False, 'mode': 'clip'},
}

SymbolicShape = tuple[Any, ...]  # sizes; text if they depend on the number of images: 'N', '8*N'


class UnknownShapesError(ValueError):
    """The given shapes do not determine all others."""


@dataclasses.dataclass(frozen=True)
class Output:
    """One output of a node, which other nodes read.

    Parameters
    ----------
    node : Node
    index : int
    version : int
        How often earlier operators have changed it in place, as BatchNorm changes its running statistics.
    """

    node: Node
    index: int = 0
    version: int = dataclasses.field(default=0, compare=False)

    @property
    def shape(self) -> SymbolicShape:
        """Its shape, after `Graph.infer_shapes`; raises `UnknownShapesError` for a hidden output."""
        if self.index >= len(self.node.shapes):
            raise UnknownShapesError(f'the shape of output {self.index} of {self.node.name[:80]} is unknown')
        return self.node.shapes[self.index]


@dataclasses.dataclass(eq=False)
class Node:
    """One operator, or a variable (operator 'null').

    Parameters
    ----------
    attributes : {str: str}
        As MXNet writes them; see `get`.
    subgraphs : list of Graph
        The contents of a fused operator.
    depends_on : list of Node
        Nodes it depends on without reading them. MXNet infers a gradient's shapes from the operator listed
        here.
    shapes : tuple of shapes
        The shapes of its visible outputs, after `Graph.infer_shapes`.
    value : numpy.ndarray, optional
        The value of a constant, after `openatac.graph.constants.fold_constants`.
    """

    operator: str
    name: str
    inputs: list[Output] = dataclasses.field(default_factory=list, repr=False)
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)
    subgraphs: list[Graph] = dataclasses.field(default_factory=list, repr=False)
    depends_on: list[Node] = dataclasses.field(default_factory=list, repr=False)
    shapes: tuple[SymbolicShape, ...] = ()
    value: Any = dataclasses.field(default=None, repr=False)

    @property
    def is_variable(self) -> bool:
        """Whether it is an input or a parameter, not an operator."""
        return self.operator == 'null'

    @property
    def shape(self) -> SymbolicShape:
        """The shape of its first output."""
        return self.shapes[0]

    def get(self, attribute: str) -> Any:
        """Return the attribute as a Python value; if it is unset, the one of `DEFAULTS` or None."""
        if attribute in self.attributes:
            return _value(self.attributes[attribute])
        return DEFAULTS.get(self.operator, {}).get(attribute)

    def settings(self) -> dict[str, Any]:
        """Return {name: value} for its attributes, without the ones that Gluon adds (``__lr_mult__``)."""
        return {name: _value(text) for name, text in self.attributes.items() if not name.startswith('__')}

    def valued_inputs(self) -> list[Output]:
        """Return the inputs it uses by value, not only by shape."""
        return self.inputs[:_VALUED_INPUTS.get(self.operator, len(self.inputs))]

    def replace(self, graph: Graph) -> None:
        """Replace it with ``graph``, whose variables '0', '1', ... stand for this node's inputs."""
        sources = self.inputs
        for node in (node for node in graph.nodes() if not node.is_variable):
            node.inputs = [sources[int(source.node.name)] if source.node.is_variable else source
                           for source in node.inputs]
            node.name = f'{self.name}_{node.name}'
        (result,) = graph.outputs
        self.operator = result.node.operator
        self.inputs = result.node.inputs
        self.attributes = result.node.attributes


class Graph:
    """The nodes required for the ``outputs``. To rewrite a graph, change the inputs of its nodes.

    Parameters
    ----------
    outputs : sequence of Output
        The results of the graph.
    about : dict, optional
        The MXNet version that wrote it, as in the JSON.
    """

    def __init__(self, outputs: Sequence[Output], about: dict[str, Any] = MXNET_VERSION) -> None:
        self.outputs = list(outputs)
        self.about = about

    @classmethod
    def of(cls, symbol: Any) -> Graph:
        """Build the graph of an mxnet.Symbol."""
        return cls.parse(json.loads(symbol.tojson()))

    @classmethod
    def parse(cls, graph: dict[str, Any]) -> Graph:
        """Build a graph from parsed JSON; `openatac.graph.symbol_files` checks what comes from a file."""
        nodes: list[Node] = []

        def read(entries: list[list[int]]) -> list[Output]:
            return [Output(nodes[index], *rest) for index, *rest in entries]

        for node in graph['nodes']:
            nodes.append(Node(node['op'], node['name'], read(node['inputs']), node.get('attrs', {}),
                              [cls.parse(inner) for inner in node.get('subgraphs', ())],
                              [nodes[index] for index in node.get('control_deps', ())]))
        return cls(read(graph['heads']), graph.get('attrs', {}))

    def to_json(self) -> dict[str, Any]:
        """Convert the graph to MXNet's JSON."""
        nodes = self.nodes()
        number = {node: index for index, node in enumerate(nodes)}

        def entries(outputs: Sequence[Output]) -> list[list[int]]:
            return [[number[output.node], output.index, output.version] for output in outputs]

        def fields(node: Node) -> dict[str, Any]:
            optional = {'attrs': node.attributes,
                        'control_deps': [number[other] for other in node.depends_on],
                        'subgraphs': [inner.to_json() for inner in node.subgraphs]}
            return {'op': node.operator, 'name': node.name, 'inputs': entries(node.inputs),
                    **{key: value for key, value in optional.items() if value}}

        return {'nodes': [fields(node) for node in nodes],
                'arg_nodes': [number[node] for node in nodes if node.is_variable],
                'heads': entries(self.outputs), **({'attrs': self.about} if self.about else {})}

    def symbol(self) -> Any:
        """Convert the graph to an mxnet.Symbol."""
        import mxnet as mx
        return mx.sym.load_json(json.dumps(self.to_json()))

    def nodes(self) -> list[Node]:
        """Return all nodes in MXNet's order, each after the nodes it reads."""
        ordered: list[Node] = []
        seen = set()
        for output in self.outputs:
            stack = [(output.node, _sources(output.node))] if output.node not in seen else []
            seen.add(output.node)
            while stack:
                node, sources = stack[-1]
                source = next((source for source in sources if source not in seen), None)
                if source is None:
                    ordered.append(node)
                    stack.pop()
                else:
                    seen.add(source)
                    stack.append((source, _sources(source)))
        return ordered

    def readers(self) -> dict[Node, list[Node]]:
        """Return {node: its readers}; a node that reads it twice is listed twice."""
        readers: dict[Node, list[Node]] = {node: [] for node in self.nodes()}
        for node in readers:
            for source in node.inputs:
                readers[source.node].append(node)
        return readers

    def infer_shapes(self, **known: SymbolicShape) -> None:
        """Infer the shapes of all outputs from the ``known`` shapes of variables, such as ``data``.

        Raises
        ------
        UnknownShapesError
            If the known shapes do not determine all others.
        MXNetError
            If the known shapes do not fit the graph.
        """
        inside = self.symbol().get_internals()
        # Unknown shapes become an error below; MXNet also prints and warns about them.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            shapes = inside.infer_shape(**known)[1]
        if shapes is None:
            raise UnknownShapesError(f'the shapes of {", ".join(known)} do not determine all others')
        nodes = self.nodes()
        for node in nodes:
            node.shapes = ()
        for (index, *_), shape in zip(json.loads(inside.tojson())['heads'], shapes):
            nodes[index].shapes += (shape,)


def _sources(node: Node) -> Iterator[Node]:
    yield from (source.node for source in node.inputs)
    yield from node.depends_on


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # not a literal, or malicious
        return text

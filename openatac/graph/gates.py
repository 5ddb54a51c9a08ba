"""Find the gates of a network: factors of a feature map that are computed from the map itself.

x' = g(x) * x, section III of "Attention as Activation": ATAC, SE and other attention blocks gate this way,
and so do Swish, Mish and xUnit.
"""
from __future__ import annotations

from typing import NamedTuple

from openatac.graph.nodes import Graph, Node, Output

PRODUCTS = ('elemwise_mul', 'broadcast_mul')


class Gate(NamedTuple):
    """``product`` is ``x`` times ``factor``, which was computed from ``x``."""

    x: Output
    factor: Output
    product: Node


def find_gates(graph: Graph) -> list[Gate]:
    """Find all gates, in graph order."""
    order = {node: index for index, node in enumerate(graph.nodes())}
    gates = (_gate(node, order) for node in order if node.operator in PRODUCTS)
    return [gate for gate in gates if gate is not None]


def _gate(product: Node, order: dict[Node, int]) -> Gate | None:
    for x, factor in (product.inputs, product.inputs[::-1]):
        if _is_computed_from(factor, x, order):
            return Gate(x, factor, product)
    return None


def _is_computed_from(output: Output, x: Output, order: dict[Node, int]) -> bool:
    seen = {output}
    waiting = [output]
    while waiting:
        current = waiting.pop()
        if current == x:
            return True
        if order[current.node] > order[x.node]:  # nodes before x were not computed from it
            new = set(current.node.valued_inputs()) - seen
            seen |= new
            waiting += new
    return False

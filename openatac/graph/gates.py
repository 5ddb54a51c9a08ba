"""The gates of a network: factors of a feature map that were computed from the map itself.

x' = g(x) * x, section III of "Attention as Activation": ATAC, SE and other attention blocks are of this form,
and so are Swish, Mish and xUnit.
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
    """Find all gates, in the order of computation."""
    gates = []
    place = {node: index for index, node in enumerate(graph.nodes())}
    for node in place:
        if node.operator in PRODUCTS:
            for x, factor in (node.inputs, node.inputs[::-1]):
                if _is_computed_from(factor, x, place):
                    gates.append(Gate(x, factor, node))
                    break
    return gates


def _is_computed_from(output: Output, x: Output, place: dict[Node, int]) -> bool:
    seen, waiting = {output}, [output]
    while waiting:
        found = waiting.pop()
        if found == x:
            return True
        if place[found.node] > place[x.node]:  # nodes before x were not computed from it
            new = set(found.node.valued_inputs()) - seen
            seen |= new
            waiting += new
    return False

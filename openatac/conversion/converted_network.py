"""The module that `to_torch` builds, which torch.save and pickle can store whole."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.node import map_aggregate


@dataclass
class _Input:
    """A placeholder for a node among another node's arguments."""

    name: str


def _placeholder(value: Any) -> Any:
    return _Input(value.name) if isinstance(value, torch.fx.Node) else value


class ConvertedNetwork(torch.fx.GraphModule):
    """A graph of MXNet's operators.

    PyTorch would store the code of a GraphModule and trace it when loading, which fails for control flow that
    depends on shapes. This class stores the nodes instead.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        nodes = [(node.op, node.target, *map_aggregate((node.args, node.kwargs), _placeholder), node.name)
                 for node in self.graph.nodes]
        state = {name: value for name, value in vars(self).items() if name not in ('_graph', '_code')}
        return _load, (nodes, state)


def _load(nodes: list[tuple[Any, ...]], state: dict[str, Any]) -> ConvertedNetwork:
    module = ConvertedNetwork(torch.nn.Module(), torch.fx.Graph())
    graph = torch.fx.Graph()
    module.__dict__.update(state)
    loaded: dict[str, torch.fx.Node] = {}
    for op, target, args, kwargs, name in nodes:
        args, kwargs = map_aggregate((args, kwargs), lambda value: (
            loaded[value.name] if isinstance(value, _Input) else value))
        loaded[name] = graph.create_node(op, target, args, kwargs, name)
    module.graph = graph
    return module

"""The graph of a Gluon network with the structural names of its parameters, and its files for other backends.

The files differ from an export's symbol files in two ways: the arrays are named as in the network's .params
files (``features.0.gamma``), and the attribute ``__grad_req__`` of each tells whether it is trained. MXNet
reads them too.
"""
from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError
from openatac.files.writing import writing
from openatac.graph.nodes import INPUT, Graph
from openatac.graph.symbol_files import write_symbol_files
from openatac.models.weights import wait_for_layouts


def named_graph(net: Any) -> tuple[Graph, dict[str, np.ndarray]]:
    """Return the graph and the arrays of a fully initialised HybridBlock.

    A parameter shared by two layers keeps its first name; an unused one is left out.

    Returns
    -------
    (Graph, {name: numpy.ndarray})

    Raises
    ------
    OpenatacError
        If the network has no values.
    """
    wait_for_layouts()
    names: dict[str, tuple[str, Any]] = {}
    for name, parameter in net._collect_params_with_prefix().items():
        names.setdefault(parameter.name, (name, parameter))
    graph = Graph.of(net(mx.sym.var(INPUT)))
    arrays = {}
    for node in graph.nodes():
        if node.is_variable and node.name in names:
            node.name, parameter = names[node.name]
            node.attributes['__grad_req__'] = parameter.grad_req
            try:
                arrays[node.name] = parameter._reduce().asnumpy()
            except RuntimeError:  # no values, or deferred until the first batch determines their shape
                raise OpenatacError(f'the network has no values for {parameter.name} yet: initialise it and '
                                    'run it on one batch') from None
    return graph, arrays


def export_graph(net: Any, path: str) -> None:
    """Write a network with its values to ``path-symbol.json`` and ``path-0000.params``.

    Raises
    ------
    OpenatacError
        If the network has no values, or the files cannot be written.
    """
    graph, arrays = named_graph(net)
    with writing(path):
        write_symbol_files(path, graph.symbol(), arrays)

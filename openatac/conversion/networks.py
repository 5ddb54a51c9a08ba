"""Convert MXNet networks to PyTorch modules, and their trained weights back.

`to_torch` builds a `torch.fx.GraphModule` node by node from the graph of a Gluon network or a symbol file.
Outputs, gradients and running statistics match MXNet's; `openatac.conversion.operators` lists the
exceptions. MXNet itself is needed for Gluon networks only: symbol files and their .params files are read
without it.
"""
from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from openatac.conversion.converted_network import ConvertedNetwork
from openatac.conversion.operators import batch_norm, find_operator, takes_training
from openatac.errors import ParameterFileError
from openatac.files.export_checksums import check_files
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.files.mxnet_arrays import write_params
from openatac.files.writing import writing
from openatac.graph.nodes import INPUT, Graph, Node
from openatac.graph.symbol_files import read_graph
from openatac.pytorch.fine_tuning import set_rate_factors
from openatac.zoo.weights.loading import shape_fits
from openatac.zoo.weights.parameter_files import ARG, AUX, read_parameter_file, without_kind
from openatac.zoo.weights.pytorch_files import numbers_of


def to_torch(network: Any, params: Any = None) -> torch.fx.GraphModule:
    """Convert a network to a torch.fx.GraphModule that maps (B, C, H, W) to the network's outputs.

    The keys of the module's state_dict() match those of the .params file: structural names
    (``features.0.gamma``) become nested modules, and symbol names (``resnet0_conv0_weight``) are kept whole,
    without MXNet's ``arg:`` and ``aux:``. Everything that Gluon trains becomes a parameter; running
    statistics, fixed gammas and anything else with grad_req 'null' become buffers. (Only symbol files from
    `openatac.graph.named_graph.export_graph` record that a beta or weight is fixed; in others it is trained.)

    Like any new module, it starts in training mode; eval() and train() switch BatchNorm and Dropout.
    torch.save takes its state_dict() or the whole module; `to_gluon` writes a .params file.

    Parameters
    ----------
    network : HybridBlock, mxnet.Symbol or path
        A network, a symbol with the input ``data``, or a symbol file, ``PREFIX-symbol.json``.
    params : path or {name: array}, optional
        A parameter file (see `openatac.zoo.weights.parameter_files`) with the graph's names, or its arrays
        (NumPy or MXNet). Default: the network's own values, or the file ``PREFIX-0000.params`` next to a
        symbol file.

    Raises
    ------
    OpenatacError
        For an operator that has no counterpart in PyTorch, or a network without values.
    ParameterFileError
        If the arrays belong to another network.
    ValueError
        If ``network`` is none of these.
    """
    graph, arrays = _load(network, params)
    nodes = graph.nodes()
    _check_arrays(nodes, arrays)
    untrained = _untrained(nodes)
    module = ConvertedNetwork(torch.nn.Module(), torch.fx.Graph())
    for name, array in arrays.items():
        _register(module, name, torch.tensor(array), name not in untrained)
    module.graph = _torch_graph(graph)
    set_rate_factors(module, {node.name: node.get('__lr_mult__') for node in nodes if node.is_variable})
    return module


def to_gluon(module: torch.nn.Module, path: str) -> None:
    """Write the weights of a module from `to_torch` to ``path``, a .params file.

    A Gluon network reads the file with ``load_parameters``. If the module came from a symbol file,
    ``SymbolBlock.imports`` and ``mx.model.load_checkpoint`` read it for that symbol.

    NumPy lacks bfloat16, so bfloat16 numbers are written as float32.

    Raises
    ------
    ValueError
        For any other module.
    OpenatacError
        If the file cannot be written.
    """
    module = getattr(module, '_orig_mod', module)  # of torch.compile
    if not isinstance(module, torch.fx.GraphModule):
        raise ValueError(f'module must come from to_torch, not a {type(module).__name__}: '
                         'openatac.pytorch.save_parameters writes those of openatac.pytorch')
    arrays = {name: numbers_of(tensor) for name, tensor in module.state_dict().items()}
    if not any('.' in name for name in arrays):  # how Gluon itself recognises names of symbols
        statistics = {source.target for node in module.graph.nodes if node.target is batch_norm
                      for source in node.args[3:]}
        arrays = {(AUX if name in statistics else ARG) + name: array for name, array in arrays.items()}
    with writing(path):
        write_params(path, arrays)


# ------------------------------------------------------------------------------------- reading

def _load(network: Any, params: Any) -> tuple[Graph, dict[str, np.ndarray]]:
    if isinstance(network, (str, os.PathLike)):
        path = os.fspath(network)
        if not path.endswith(SYMBOL_SUFFIX):
            raise ValueError(f'a symbol file is called PREFIX{SYMBOL_SUFFIX}, and {path} is not')
        prefix = path[:-len(SYMBOL_SUFFIX)]
        check_files(prefix, [path])
        graph = read_graph(path)
        if params is None:
            params = prefix + PARAMS_SUFFIX
            check_files(prefix, [params])
    elif hasattr(network, 'tojson'):
        graph = Graph.of(network)
    elif hasattr(network, 'hybrid_forward'):
        from openatac.graph.named_graph import named_graph
        graph, own = named_graph(network)
        params = own if params is None else params
    else:
        raise ValueError('network must be a HybridBlock, a Symbol or the path of a symbol file, not '
                         f'{network!r}')
    if params is None:
        raise ValueError('a Symbol has no values: give params, a .params file or its arrays')
    return graph, _arrays(params)


def _arrays(params: Any) -> dict[str, np.ndarray]:
    if isinstance(params, (str, os.PathLike)):
        params = read_parameter_file(os.fspath(params))
    return {without_kind(name):
            array.asnumpy() if hasattr(array, 'asnumpy') else np.asarray(array)
            for name, array in params.items()}


def _check_arrays(nodes: list[Node], arrays: dict[str, np.ndarray]) -> None:
    shapes = {node.name: node.get('__shape__') for node in nodes if node.is_variable and node.name != INPUT}
    missing, unexpected = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
    if missing or unexpected:
        raise ParameterFileError(f'the parameters belong to another network: {len(missing)} are missing and '
                                 f'{len(unexpected)} unexpected, such as {(missing + unexpected)[0]}')
    for name, shape in shapes.items():
        given = arrays[name].shape
        if shape and not (isinstance(shape, tuple) and shape_fits(given, shape)):
            raise ParameterFileError.wrong_shape(name, given, shape)


# ------------------------------------------------------------------------------------ building

def _untrained(nodes: list[Node]) -> set[str]:
    """Return the names of running statistics, fixed gammas and whatever the graph marks as not trained."""
    names = {node.name for node in nodes if node.attributes.get('__grad_req__') == 'null'}
    for node in nodes:
        if node.operator == 'BatchNorm':
            _, gamma, _, *statistics = (source.node.name for source in node.inputs)
            names.update(statistics)
            if node.get('fix_gamma'):
                names.add(gamma)
    return names


def _register(module: torch.nn.Module, name: str, tensor: torch.Tensor, trained: bool) -> None:
    """Register the tensor in the module under its name; dots separate nested modules."""
    *parents, name = name.split('.')
    for parent in parents:
        if parent not in module._modules:
            module.add_module(parent, torch.nn.Module())
        module = module.get_submodule(parent)
    if trained and tensor.is_floating_point():
        module.register_parameter(name, torch.nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor)


def _torch_graph(graph: Graph) -> torch.fx.Graph:
    """Return a graph of PyTorch's functions that computes the same."""
    result = torch.fx.Graph()
    values = {}
    data = result.placeholder(INPUT)
    training = result.create_node('get_attr', 'training')  # the module's own, as train() and eval() set it
    for node in graph.nodes():
        if node.is_variable:
            values[node] = data if node.name == INPUT else result.create_node('get_attr', node.name)
            continue
        function, operands, settings = find_operator(node)
        if takes_training(function):
            settings = dict(settings, training=training)
        inputs = tuple(values[source.node] for source in node.inputs)
        values[node] = result.create_node('call_function', function, inputs + operands, settings, node.name)
    outputs = tuple(values[output.node] for output in graph.outputs)
    result.output(outputs[0] if len(outputs) == 1 else outputs)
    result.eliminate_dead_code()
    return result

"""Replace the activations of an existing Gluon network.

A recording of the network (see `openatac.replacement.gluon.recording`) shows which block creates which
operator, the input of each activation, and which activations are operators called inside a block's forward.
The latter are not separate blocks, and can't be replaced.
"""
from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import mxnet as mx
from mxnet.gluon.block import Block, HybridBlock

from openatac.errors import last_line
from openatac.graph.nodes import INPUT, Graph, SymbolicShape, UnknownShapesError
from openatac.replacement.gluon.known_activations import activation_of, is_activation, is_activation_or_gate
from openatac.replacement.gluon.recording import OWNER, Calls, NestedBlock, nested_blocks, record_calls
from openatac.replacement.rules import Where, check_called, check_selected, selects

Chosen = dict[NestedBlock, list[SymbolicShape]]  # {activation: the shapes of its input feature maps}


def replace(net: HybridBlock, make: Callable[[int], HybridBlock], where: Where, image_shape: Sequence[int],
            init: mx.init.Initializer | None) -> list[str]:
    """Replace activations with units built by ``make(channels)``, in place; return their names.

    For the other parameters and the errors, see `openatac.replacement.activations.replace_activations`.
    """
    if not isinstance(net, HybridBlock):
        raise ValueError(f'net must be a HybridBlock or a PyTorch Module, not a {type(net).__name__}')
    calls, outputs = record_calls(net)
    activations = [nested for nested in nested_blocks(net)
                   if nested.parents and calls[nested.block] and is_activation(nested.block)]
    inputs = [symbol for nested in activations for symbol in calls[nested.block]]
    graph = _with_shapes([*outputs, *inputs], image_shape)
    on_maps = _on_maps(activations, calls, [output.shape for output in graph.outputs[len(outputs):]])
    chosen = {nested: shapes for nested, shapes in on_maps.items() if selects(where, nested.name)}
    stuck = [text for name, text in _called_inside(net, Graph(graph.outputs[:len(outputs)]))
             if selects(where, name)]
    names = [nested.name for nested in chosen]
    check_selected(where, [*stuck, *_shared(chosen, calls, make)], names,
                   [nested.name for nested in on_maps])
    _put_units(net, chosen, _make_units(net, chosen, make, init))
    return names


# ------------------------------------------------------------------- replaceable activations

def _with_shapes(outputs: list[mx.sym.Symbol], image_shape: Sequence[int]) -> Graph:
    """Return the graph of these outputs, with shapes for one image."""
    graph = Graph.of(mx.sym.Group(outputs))
    try:
        graph.infer_shapes(**{INPUT: (1, *image_shape)})
    except UnknownShapesError:
        raise ValueError(f'image_shape {image_shape!r} does not determine all shapes') from None
    except mx.MXNetError as error:
        raise ValueError(f'image_shape {image_shape!r} does not fit the network: '
                         f'{last_line(error)}') from None
    return graph


def _on_maps(activations: list[NestedBlock], calls: Calls, shapes: list[SymbolicShape]) -> Chosen:
    """Return the activations that receive feature maps, not only vectors; ``shapes`` are of all calls."""
    rest = iter(shapes)
    maps = {nested: [shape for shape in itertools.islice(rest, len(calls[nested.block])) if _is_map(shape)]
            for nested in activations}
    return {nested: shapes for nested, shapes in maps.items() if shapes}


def _is_map(shape: SymbolicShape) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _called_inside(net: HybridBlock, graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield (name, description for an error) of each block whose forward calls activations of maps."""
    owners = {nested.name: nested.block for nested in nested_blocks(net)}
    called = defaultdict(list)
    for node in graph.nodes():
        activation = activation_of(node)
        if activation and _is_map(node.shape):
            called[node.attributes.get(OWNER, '')].append(activation)
    for owner, activations in called.items():
        if not is_activation_or_gate(owners[owner]):
            name = f'{owner}.forward' if owner else 'forward'
            yield name, f'{name} ({type(owners[owner]).__name__} calls {" and ".join(activations)})'


def _shared(chosen: Chosen, calls: Calls, make: Callable[[int], HybridBlock]) -> Iterator[str]:
    """Yield a description of each block shared by several calls, if the new units have weights."""
    for nested, shapes in chosen.items():
        times = len(calls[nested.block])
        parent_times = next(len(calls[block]) for block in reversed(nested.parents) if calls[block])
        channels = sorted({shape[1] for shape in shapes})
        if (times > parent_times or len(channels) > 1) and list(make(channels[-1]).collect_params()):
            yield (f'{nested.name} (one {type(nested.block).__name__} for {times} calls, of '
                   f'{" and ".join(map(str, channels))} channels)')


# --------------------------------------------------------------------------------- replacement

def _make_units(net: HybridBlock, chosen: Chosen, make: Callable[[int], HybridBlock],
                init: mx.init.Initializer | None) -> dict[Block, HybridBlock]:
    """Make {activation: its new unit}, on the network's contexts and in its precision."""
    parameters = net.collect_params().values()
    taken = {parameter.name for parameter in parameters}
    weights = [parameter for parameter in parameters if len(parameter.shape or ()) > 1]
    contexts = _contexts(parameters)
    units: dict[Block, HybridBlock] = {}
    for nested, shapes in chosen.items():
        if nested.block in units:
            continue
        unit = units[nested.block] = _make_unit(nested, shapes[0][1], make, taken)
        taken.update(unit.collect_params())
        if weights:
            unit.cast(weights[0].dtype)  # not a vector's, since BatchNorm's are float32 in a float16 network
        if contexts:
            unit.infer_shape(mx.nd.zeros(shapes[0]))  # without waiting for the first images
            unit.initialize(init or mx.init.MSRAPrelu(), contexts)
        unit.hybridize(nested.block._active, **dict(nested.block._flags))
    return units


def _make_unit(nested: NestedBlock, channels: int, make: Callable[[int], HybridBlock],
               taken: set[str]) -> HybridBlock:
    """Make a unit named after the activation it replaces, with unused parameter names."""
    with contextlib.ExitStack() as scopes:
        for block in nested.parents:
            scopes.enter_context(block.name_scope())
        unit = make(channels)
        while not taken.isdisjoint(unit.collect_params()):  # if several blocks have the same prefix
            unit = make(channels)
    return unit


def _contexts(parameters: Sequence[mx.gluon.Parameter]) -> list[mx.Context] | None:
    """Return the contexts of the parameters; None unless all are initialised."""
    try:
        contexts = [parameter.list_ctx() for parameter in parameters]
    except RuntimeError:
        return None
    return contexts[0] if contexts else None


def _put_units(net: HybridBlock, chosen: Chosen, units: dict[Block, HybridBlock]) -> None:
    """Put in all units, or none if the network does not call every one of them by name."""
    with contextlib.ExitStack() as undo:
        for nested in chosen:
            undo.callback(_put, nested, nested.block)
            _put(nested, units[nested.block])
        calls, _ = record_calls(net)
        check_called([nested.name for nested in chosen if not calls[units[nested.block]]])
        undo.pop_all()
    net.apply(lambda block: block._clear_cached_op())


def _put(nested: NestedBlock, block: Block) -> None:
    """Put ``block`` in place of the nested one."""
    parent = nested.parents[-1]
    parent._children[nested.key] = block
    if nested.key in vars(parent):
        vars(parent)[nested.key] = block  # an assignment would require the class of the old block

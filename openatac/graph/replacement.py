"""Swaps the activations of an existing network: ATAC in any Gluon network.

The network is run on a symbol instead of images. That computes nothing, so no weight, running statistic or
random number changes, and it shows which block creates which operator, what each activation receives, and
which activations are operators called inside a block's forward. Those are not blocks of their own, and can't
be swapped.
"""
from __future__ import annotations

import contextlib
import fnmatch
import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, Union

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import Block, HybridBlock, SymbolBlock

from openatac.errors import last_line
from openatac.graph.nodes import Graph, Node, Shape, UnknownShapes
from openatac.nn.activations import ACTIVATIONS
from openatac.registry import Factory, settings_of

RECTIFIERS = ('relu', 'softrelu')  # in Gluon's Activation; its sigmoid, tanh and softsign are gates
OTHERS = ('ReLU6', 'RELU6', 'HardSwish')  # activations of GluonCV and of Gluon's model zoo, by class
GATES = ('HardSigmoid',)  # GluonCV's, which holds a ReLU6 that is not an activation there
CONTAINERS = (nn.HybridSequential, nn.HybridLambda)  # that a registered activation may consist of
OWNER = '__owner__'  # the attribute of a symbol's nodes that names the block that created them

Where = Union[None, str, Callable[[str], bool]]


class Place(NamedTuple):
    """A block in a network: its structural name, its last part, its enclosing blocks from outside in."""

    name: str
    key: str
    block: Block
    around: tuple[Block, ...]


def replace_activations(net: HybridBlock, act_type: str, where: Where = None,
                        image_shape: Sequence[int] = (3, 224, 224),
                        init: mx.init.Initializer | None = None, **settings: Any) -> list[str]:
    """Swap activations of ``net`` for ``act_type``, in place.

    Activations are blocks of Gluon's Activation with relu or softrelu, LeakyReLU, PReLU, ELU, SELU, GELU
    and Swish, ReLU6 and HardSwish as in GluonCV, and all of ACTIVATIONS. Those that the forward pass does not
    call stay, and so do those that only see maps of one pixel: the vectors of dense layers and of
    squeeze-and-excitation. (So choose an image large enough that real maps have more.)

    All other parameters keep their names, order and values; the new ones are named after the place.
    Hybridized networks stay hybridized. Create the Trainer afterwards.

    Parameters
    ----------
    net : HybridBlock
        Takes images (B, C, H, W) and has any number of outputs. It may be initialised, trained or neither. It
        must be the whole network: an enclosing hybridized block would keep running its old graph.
    act_type : str
        A name of `openatac.nn.activations.ACTIVATIONS`.
    where : str or callable, optional
        Which ones to swap: a shell pattern of the structural name (as in ``save_parameters``), such as
        'layer4.*' or 'layer[34].*.relu[12]', or a function of it that returns a bool. Default: all.
    image_shape : tuple of int, default (3, 224, 224)
        Shape (C, H, W) of one image that fits the network.
    init : mxnet.init.Initializer, optional
        For the new parameters of an initialised network, on its own devices; default MSRAPrelu(), as in the
        paper. In an uninitialised network, ``net.initialize`` draws them.
    **settings
        Settings of the activation, such as r, useReLU and useGlobal of ChaATAC.

    Returns
    -------
    list of str
        The structural names of the activations that were swapped.

    Raises
    ------
    ValueError
        If there is nothing to swap, or ``where`` selects activations that can't be swapped, which the
        message names. The network then stays as it was. The two kinds that can't be swapped are

        - activations called inside a block's forward: F.Activation(x, act_type='relu'), F.relu, F.LeakyReLU,
          F.clip(x, 0, 6), F.maximum(x, 0). Their name is BLOCK.forward, and ``where`` is asked about that
          too; to leave them out: ``where=lambda name: not name.endswith('forward')``;
        - one block called several times in the forward of another, if the new unit has weights: all those
        calls would have to share them.
    """
    _check_arguments(net, act_type, where, image_shape, settings)
    make = functools.partial(ACTIVATIONS.find(act_type), **settings)
    calls, outputs = _run(net)
    places = [place for place in _places(net) if place.around and calls[place.block]
              and _is_activation(place.block)]
    graph = _with_shapes([*outputs, *(symbol for place in places for symbol in calls[place.block])],
                         image_shape)
    shapes = iter([head.shape for head in graph.heads[len(outputs):]])
    maps = {place: [shape for shape in [next(shapes) for _ in calls[place.block]] if _is_map(shape)]
            for place in places}
    found = {place: shapes for place, shapes in maps.items() if shapes}  # the others see vectors
    chosen = {place: shapes for place, shapes in found.items() if _selects(where, place.name)}
    stuck = [text for name, text in _called_inside(net, Graph(graph.heads[:len(outputs)]))
             if _selects(where, name)]
    stuck += _shared(chosen, calls, make)
    if stuck:
        raise ValueError(f"these activations can't be swapped: {', '.join(stuck)}; leave them out by "
                         '`where`, or make each a child block of its own')
    if not chosen:
        names = ', '.join(place.name for place in found) or 'none'
        raise ValueError(f'where={where!r} selects no activation; those on feature maps that are blocks of '
                         f'their own are: {names}')
    _swap(net, _make_units(net, chosen, make, init))
    return [place.name for place in chosen]


def _check_arguments(net: HybridBlock, act_type: str, where: Where, image_shape: Sequence[int],
                     settings: dict[str, Any]) -> None:
    known = settings_of(ACTIVATIONS.find(act_type))[1:]  # without the channels
    if not isinstance(net, HybridBlock):
        raise ValueError(f'net must be a HybridBlock, not a {type(net).__name__}')
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) != 3 or not all(
            isinstance(side, int) and side > 0 for side in image_shape):
        raise ValueError(f'image_shape must be (channels, height, width), not {image_shape!r}')
    if not (where is None or isinstance(where, str) or callable(where)):
        raise ValueError(f'where must be a pattern of names or a function of a name, not {where!r}')
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f'{act_type} has no setting {", ".join(unknown)}; its settings are: '
                         f'{", ".join(known) or "none"}')


def _selects(where: Where, name: str) -> bool:
    if isinstance(where, str):
        return fnmatch.fnmatchcase(name, where)
    return where is None or where(name)


@functools.cache
def _classes_of(factories: tuple[Factory, ...]) -> tuple[type, ...]:
    with mx.name.NameManager():  # building these must not change the names of other blocks
        ours = {type(factory(64)) for factory in factories}
    return tuple(ours - {nn.Activation, *CONTAINERS} | {nn.LeakyReLU, nn.PReLU})


def _is_activation(block: Block) -> bool:
    if isinstance(block, nn.Activation):
        return block._act_type in RECTIFIERS
    return isinstance(block, _classes_of(ACTIVATIONS.values())) or type(block).__name__ in OTHERS


def _is_leaf(block: Block) -> bool:
    """Return whether it is an activation or a gate, whose parts are not activations of their own."""
    return _is_activation(block) or isinstance(block, nn.Activation) or type(block).__name__ in GATES


def _places(block: Block, name: str = '', key: str = '', around: tuple[Block, ...] = ()) -> Iterator[Place]:
    """Yield the `Place`s of a block and of all blocks in it, except those inside activations and gates."""
    yield Place(name, key, block, around)
    if not _is_leaf(block):
        for key, child in block._children.items():
            yield from _places(child, f'{name}.{key}' if name else key, key, (*around, block))


def _run(net: HybridBlock) -> tuple[dict[Block, list[mx.sym.Symbol]], list[mx.sym.Symbol]]:
    """Run the network on a symbol; return {block: inputs of its calls} and the outputs.

    Each node of the symbols has the attribute OWNER, the name of the block that created it.
    """
    names: dict[Any, str] = {}
    for place in _places(net):
        names.setdefault(place.block, place.name)
    calls: dict[Any, list[Any]] = {block: [] for block in names}
    variables = {parameter: parameter._var for parameter in net.collect_params().values()}
    scopes = []

    def enter(block, inputs):
        calls[block].append(inputs[0])
        scopes.append(mx.AttrScope(**{OWNER: names[block]}))
        scopes[-1].__enter__()

    def leave(block, inputs, outputs):
        scopes.pop().__exit__(None, None, None)
        if isinstance(block, SymbolBlock):  # its nodes already existed
            for node in mx.sym.Group(list(_flat(outputs))).get_internals():
                if node.attr(OWNER) is None:
                    node._set_attr(**{OWNER: names[block]})

    with contextlib.ExitStack() as undo:
        undo.enter_context(mx.name.NameManager())
        for block in names:
            undo.callback(block.register_forward_pre_hook(enter).detach)
            undo.callback(block.register_forward_hook(leave).detach)
        try:
            return calls, list(_flat(net(mx.sym.var('data'))))
        except Exception as error:
            raise ValueError(f'{type(net).__name__} cannot run on a symbol, as hybridize requires: '
                             f'{last_line(error)}') from error
        finally:
            while scopes:
                scopes.pop().__exit__(None, None, None)
            for parameter, variable in variables.items():
                parameter._var = variable  # the one created here has the attribute, and the current precision


def _flat(outputs: Any) -> Iterator[mx.sym.Symbol]:
    if isinstance(outputs, mx.sym.Symbol):
        yield outputs
    else:
        for output in outputs:
            yield from _flat(output)


def _with_shapes(outputs: list[mx.sym.Symbol], image_shape: Sequence[int]) -> Graph:
    """Return the graph of these outputs, with the shapes for one image."""
    graph = Graph.of(mx.sym.Group(outputs))
    try:
        graph.infer_shapes(data=(1, *image_shape))
    except UnknownShapes:
        raise ValueError(f'image_shape {image_shape!r} does not determine all shapes') from None
    except mx.MXNetError as error:
        raise ValueError(f'image_shape {image_shape!r} does not fit the network: '
                         f'{last_line(error)}') from None
    return graph


def _is_map(shape: Shape) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _called_inside(net: HybridBlock, graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield (name, description for an error) of each block whose forward calls activations of maps."""
    owners = {place.name: place.block for place in _places(net)}
    called = defaultdict(list)
    for node in graph.nodes():
        rectifier = _rectifier(node)
        if rectifier and _is_map(node.shape):
            called[node.attributes.get(OWNER, '')].append(rectifier)
    for owner, rectifiers in called.items():
        if not _is_leaf(owners[owner]):
            name = f'{owner}.forward' if owner else 'forward'
            yield name, f'{name} ({type(owners[owner]).__name__} calls {" and ".join(rectifiers)})'


def _rectifier(node: Node) -> str | None:
    """Return the name of the activation that a node computes; None for other nodes."""
    if node.operator == 'LeakyReLU' or (
            node.operator == 'Activation' and node.get('act_type') in RECTIFIERS):
        return node.get('act_type', 'leaky')
    if node.operator == 'clip' and (node.get('a_min'), node.get('a_max')) == (0, 6):
        return 'relu6'
    if node.operator == 'relu' or (node.operator == '_maximum_scalar' and node.get('scalar') == 0):
        return 'relu'
    return None


def _shared(chosen: dict[Place, list[Shape]], calls: dict[Block, list[mx.sym.Symbol]],
            make: Callable[[int], HybridBlock]) -> Iterator[str]:
    """Yield a description of each block shared by several calls, if the new units have weights."""
    for place, shapes in chosen.items():
        times = len(calls[place.block])
        around = next(len(calls[block]) for block in reversed(place.around) if calls[block])
        channels = sorted({shape[1] for shape in shapes})
        if (times > around or len(channels) > 1) and list(make(channels[-1]).collect_params()):
            yield (f'{place.name} (one {type(place.block).__name__} for {times} calls, of '
                   f'{" and ".join(map(str, channels))} channels)')


def _make_units(net: HybridBlock, chosen: dict[Place, list[Shape]], make: Callable[[int], HybridBlock],
                init: mx.init.Initializer | None) -> dict[Place, HybridBlock]:
    """Make {place: its new unit}, on the network's contexts and in its precision."""
    parameters = net.collect_params().values()
    taken = {parameter.name for parameter in parameters}
    weights = [parameter for parameter in parameters if len(parameter.shape or ()) > 1]
    contexts = _contexts(parameters)
    units: dict[Block, HybridBlock] = {}
    for place, shapes in chosen.items():
        if place.block in units:
            continue
        unit = units[place.block] = _make_unit(place, shapes[0][1], make, taken)
        taken.update(unit.collect_params())
        if weights:
            unit.cast(weights[0].dtype)  # the vectors of a float16 network's BatchNorm are float32
        if contexts:
            unit.infer_shape(mx.nd.zeros(shapes[0]))  # so that it does not wait for the first images
            unit.initialize(init or mx.init.MSRAPrelu(), contexts)
        unit.hybridize(place.block._active, **dict(place.block._flags))
    return {place: units[place.block] for place in chosen}


def _make_unit(place: Place, channels: int, make: Callable[[int], HybridBlock],
               taken: set[str]) -> HybridBlock:
    """Make a unit named after its place, whose parameters have unused names."""
    with contextlib.ExitStack() as scopes:
        for block in place.around:
            scopes.enter_context(block.name_scope())
        unit = make(channels)
        while not taken.isdisjoint(unit.collect_params()):  # if several blocks have the same prefix
            unit = make(channels)
    return unit


def _contexts(parameters: Sequence[mx.gluon.Parameter]) -> list[mx.Context] | None:
    """Return where the parameters are; None unless all are initialised."""
    try:
        contexts = [parameter.list_ctx() for parameter in parameters]
    except RuntimeError:
        return None
    return contexts[0] if contexts else None


def _swap(net: HybridBlock, units: dict[Place, HybridBlock]) -> None:
    """Put each unit in its place, or none if the network does not call all of them there."""
    with contextlib.ExitStack() as undo:
        for place, unit in units.items():
            undo.callback(_put, place, place.block)
            _put(place, unit)
        calls = _run(net)[0]
        unused = [place.name for place, unit in units.items() if not calls[unit]]
        if unused:
            raise ValueError("these activations can't be swapped, as the network does not call them by these "
                             f'names: {", ".join(unused)}')
        undo.pop_all()
    net.apply(lambda block: block._clear_cached_op())


def _put(place: Place, block: Block) -> None:
    parent = place.around[-1]
    parent._children[place.key] = block
    if place.key in vars(parent):
        vars(parent)[place.key] = block  # an assignment would require the class of the old block

"""Other activations in a network that is already there: ATAC in any Gluon network.

The network is run on a symbol in place of images. That computes nothing, so no weight, running
statistic or random number is touched, and it tells which block makes which operator, what reaches
each activation, and which activations are operators called inside a block's forward: these are no
blocks of their own, and can't be swapped.
"""
import contextlib
import fnmatch
import functools
import io
import json
from collections import defaultdict
from typing import Callable, NamedTuple, Tuple

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import Block, HybridBlock, SymbolBlock

from openatac.nn.activations import ACTIVATIONS
from openatac.nn.registry import settings_of

RECTIFIERS = ('relu', 'softrelu')  # of Gluon's Activation; its sigmoid, tanh and softsign are gates
OTHERS = ('ReLU6', 'RELU6', 'HardSwish')  # activations of GluonCV and of Gluon's model zoo, by class
GATES = ('HardSigmoid',)  # GluonCV's, which holds a ReLU6 that is no activation there
OWNER = '__owner__'  # the attribute of a symbol's nodes that names the block which made them


class Place(NamedTuple):
    """A block in a network: its structural name, the last part of that, the blocks around it from outside."""

    name: str
    key: str
    block: Block
    around: Tuple[Block, ...]


def replace_activations(net, act_type, where=None, image_shape=(3, 224, 224), init=None, **settings):
    """Swap activations of ``net`` for ``act_type``, in place; returns the structural names of those swapped.

    net : HybridBlock
        Of images (B, C, H, W), with any number of outputs. Initialised, trained or neither. The whole
        network: a hybridized one around it would go on with its old graph.
    act_type : str
        A name of `openatac.nn.activations.ACTIVATIONS`.
    where : str or function, optional
        Which ones: a shell pattern of the structural name (as in ``save_parameters``), such as
        'layer4.*' or 'layer[34].*.relu[12]', or a function of it that returns a bool. Default: all.
    image_shape : three ints, default (3, 224, 224)
        Shape (C, H, W) of one image that fits the network.
    init : mxnet.init.Initializer, default MSRAPrelu(), as in the paper
        For the new parameters of a network that is initialised; they are where its others are. In one
        that is not, they wait for ``net.initialize``.
    settings
        Settings of the activation, such as r, useReLU and useGlobal of ChaATAC.

    Activations are blocks of Gluon's Activation with relu or softrelu, LeakyReLU, PReLU, ELU, SELU, GELU
    and Swish, ReLU6 and HardSwish as in GluonCV, and all of ACTIVATIONS. Left alone are those that the
    forward pass does not call, and those that see no map of more than one pixel: the vectors of dense
    layers and of squeeze-and-excitation. (So do not choose so small an image that true maps get that small.)

    All other parameters keep their names, order and values; the new ones are named after the place.
    Hybridized networks stay so. Make a Trainer afterwards.

    Raises ValueError, and leaves the network as it was, if there is nothing to swap, and, naming each, if
    ``where`` selects what can't be:

    - activations called inside a block's forward: F.Activation(x, act_type='relu'), F.relu, F.LeakyReLU,
      F.clip(x, 0, 6), F.maximum(x, 0). Their name is BLOCK.forward, and ``where`` is asked about that too;
      to go on without them: ``where=lambda name: not name.endswith('forward')``;
    - one block called several times in the forward of another, if the new unit has weights: it would have
      to serve all these places with the same ones.
    """
    _check_arguments(net, act_type, where, image_shape, settings)
    make = functools.partial(ACTIVATIONS.find(act_type), **settings)
    calls, output = _run(net)
    found = _activations(net, calls, image_shape)
    chosen = {place: shapes for place, shapes in found.items() if _selects(where, place.name)}
    stuck = [text for name, text in _called_inside(net, output, image_shape) if _selects(where, name)]
    stuck += _shared(chosen, calls, make)
    if stuck:
        raise ValueError("these activations can't be swapped: %s; leave them out by `where`, or make each a "
                         'child block of its own' % ', '.join(stuck))
    if not chosen:
        raise ValueError('where=%r selects no activation; those on feature maps that are blocks of their own '
                         'are: %s' % (where, ', '.join(place.name for place in found) or 'none'))
    _swap(net, _make_units(net, chosen, make, init))
    return [place.name for place in chosen]


def _check_arguments(net, act_type, where, image_shape, settings):
    known = settings_of(ACTIVATIONS.find(act_type))[1:]  # without the channels
    if not isinstance(net, HybridBlock):
        raise ValueError('net must be a HybridBlock, not a %s' % type(net).__name__)
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) != 3 or not all(
            isinstance(side, int) and side > 0 for side in image_shape):
        raise ValueError('image_shape must be (channels, height, width), not %r' % (image_shape,))
    if not (where is None or isinstance(where, str) or callable(where)):
        raise ValueError('where must be a pattern of names or a function of a name, not %r' % (where,))
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f'{act_type} has no setting {", ".join(unknown)}; its settings are: '
                         f'{", ".join(known) or "none"}')


def _selects(where, name):
    if isinstance(where, str):
        return fnmatch.fnmatchcase(name, where)
    return where is None or where(name)


@functools.lru_cache(maxsize=None)
def _classes_of(factories: Tuple[Callable[..., HybridBlock], ...]) -> Tuple[type, ...]:
    with mx.name.NameManager():  # so that building these does not change the names of other blocks
        ours = {type(factory(64)) for factory in factories}
    return tuple(ours - {nn.Activation} | {nn.LeakyReLU, nn.PReLU})


def _is_activation(block: Block) -> bool:
    if isinstance(block, nn.Activation):
        return block._act_type in RECTIFIERS
    return isinstance(block, _classes_of(ACTIVATIONS.values())) or type(block).__name__ in OTHERS


def _is_leaf(block: Block) -> bool:
    """Whether it is an activation or a gate, whose insides are not activations of their own."""
    return _is_activation(block) or isinstance(block, nn.Activation) or type(block).__name__ in GATES


def _places(block, name='', key='', around=()):
    """The `Place`s of a block and of all blocks in it, but for those in activations and gates."""
    yield Place(name, key, block, around)
    if not _is_leaf(block):
        for key, child in block._children.items():
            yield from _places(child, '%s.%s' % (name, key) if name else key, key, around + (block,))


def _run(net):
    """Run the network on a symbol; returns {block: what its calls were given} and the symbol of all outputs.

    Each node of the symbol has the attribute OWNER, the name of the block that made it.
    """
    names = {}
    for place in _places(net):
        names.setdefault(place.block, place.name)
    calls = {block: [] for block in names}
    variables = {parameter: parameter._var for parameter in net.collect_params().values()}
    scopes = []

    def enter(block, inputs):
        calls[block].append(inputs[0])
        scopes.append(mx.AttrScope(**{OWNER: names[block]}))
        scopes[-1].__enter__()

    def leave(block, inputs, outputs):
        scopes.pop().__exit__(None, None, None)
        if isinstance(block, SymbolBlock):  # its nodes were made before
            for node in mx.sym.Group(list(_flat(outputs))).get_internals():
                if node.attr(OWNER) is None:
                    node._set_attr(**{OWNER: names[block]})

    with contextlib.ExitStack() as undo:
        undo.enter_context(mx.name.NameManager())
        for block in names:
            undo.callback(block.register_forward_pre_hook(enter).detach)
            undo.callback(block.register_forward_hook(leave).detach)
        try:
            return calls, mx.sym.Group(list(_flat(net(mx.sym.var('data')))))
        except Exception as error:
            raise ValueError('%s can not be run on a symbol, as hybridize does it: %s' % (
                type(net).__name__, _last_line(error))) from error
        finally:
            while scopes:
                scopes.pop().__exit__(None, None, None)
            for parameter, variable in variables.items():
                parameter._var = variable  # one made here has the attribute, and today's precision


def _flat(outputs):
    if isinstance(outputs, mx.sym.Symbol):
        yield outputs
    else:
        for output in outputs:
            yield from _flat(output)


def _shapes(symbol, image_shape):
    """The shapes of a symbol's outputs for one image."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints, before it raises
            shapes = symbol.infer_shape(data=(1,) + tuple(image_shape))[1]
    except mx.MXNetError as error:
        raise ValueError('image_shape %r does not fit the network: %s'
                         % (image_shape, _last_line(error))) from None
    if shapes is None:
        raise ValueError('image_shape %r does not tell all shapes of the network' % (image_shape,))
    return shapes


def _last_line(error):
    return (str(error).splitlines() or [type(error).__name__])[-1]  # above it MXNet has its own stack


def _is_map(shape):
    return len(shape) == 4 and shape[2] * shape[3] > 1


def _activations(net, calls, image_shape):
    """{place: shapes of the maps that its calls are given} of the activations that see feature maps."""
    places = [place for place in _places(net) if place.around and calls[place.block]
              and _is_activation(place.block)]
    given = [symbol for place in places for symbol in calls[place.block]]
    shapes = iter(_shapes(mx.sym.Group(given), image_shape) if given else ())
    maps = {}
    for place in places:
        maps[place] = [shape for shape in [next(shapes) for _ in calls[place.block]] if _is_map(shape)]
    return {place: shapes for place, shapes in maps.items() if shapes}


def _called_inside(net, output, image_shape):
    """(name, what an error says of it) for each block that calls activations of maps in its forward."""
    owners = {place.name: place.block for place in _places(net)}
    internals = output.get_internals()
    shape_of = dict(zip(internals.list_outputs(), _shapes(internals, image_shape)))
    called = defaultdict(list)
    for node in json.loads(output.tojson())['nodes']:
        rectifier = _rectifier(node['op'], node.get('attrs'))
        if rectifier and _is_map(shape_of[node['name'] + '_output']):
            called[node['attrs'].get(OWNER, '')].append(rectifier)
    for owner, rectifiers in called.items():
        if not _is_leaf(owners[owner]):
            name = owner + '.forward' if owner else 'forward'
            yield name, '%s (%s calls %s)' % (name, type(owners[owner]).__name__, ' and '.join(rectifiers))


def _rectifier(operator, attributes):
    """The name of the activation that a node is, None if it is none."""
    if operator == 'Activation' and attributes['act_type'] in RECTIFIERS or operator == 'LeakyReLU':
        return attributes.get('act_type', 'leaky')
    if operator == 'clip' and (float(attributes['a_min']), float(attributes['a_max'])) == (0, 6):
        return 'relu6'
    if operator == 'relu' or operator == '_maximum_scalar' and float(attributes['scalar']) == 0:
        return 'relu'
    return None


def _shared(chosen, calls, make):
    """What an error says of each block that is called at several places, if units with weights are made."""
    for place, shapes in chosen.items():
        times = len(calls[place.block])
        around = next(len(calls[block]) for block in reversed(place.around) if calls[block])
        channels = sorted({shape[1] for shape in shapes})
        if (times > around or len(channels) > 1) and list(make(channels[-1]).collect_params()):
            yield '%s (one %s for %d calls, of %s channels)' % (
                place.name, type(place.block).__name__, times, ' and '.join(map(str, channels)))


def _make_units(net, chosen, make, init):
    """{place: its new unit}, on the contexts and in the precision of the network."""
    parameters = net.collect_params().values()
    taken = {parameter.name for parameter in parameters}
    weights = [parameter for parameter in parameters if len(parameter.shape or ()) > 1]
    contexts = _contexts(parameters)
    units = {}
    for place, shapes in chosen.items():
        if place.block in units:
            continue
        unit = units[place.block] = _make_unit(place, shapes[0][1], make, taken)
        taken.update(unit.collect_params())
        if weights:
            unit.cast(weights[0].dtype)  # the vectors of a float16 network's BatchNorm are float32
        if contexts:
            unit.infer_shape(mx.nd.zeros(shapes[0]))  # so that it need not wait for the first images
            unit.initialize(init or mx.init.MSRAPrelu(), contexts)
        unit.hybridize(place.block._active, **dict(place.block._flags))
    return {place: units[place.block] for place in chosen}


def _make_unit(place, channels, make, taken):
    """A unit named after its place; its parameters get no name that is taken."""
    with contextlib.ExitStack() as scopes:
        for block in place.around:
            scopes.enter_context(block.name_scope())
        unit = make(channels)
        while not taken.isdisjoint(unit.collect_params()):  # where several blocks have the same prefix
            unit = make(channels)
    return unit


def _contexts(parameters):
    """Where the parameters are; None unless all are initialised."""
    try:
        contexts = [parameter.list_ctx() for parameter in parameters]
    except RuntimeError:
        return None
    return contexts[0] if contexts else None


def _swap(net, units):
    """Put each unit in its place, or none if the network does not call all of them there."""
    with contextlib.ExitStack() as undo:
        for place, unit in units.items():
            undo.callback(_put, place, place.block)
            _put(place, unit)
        calls, _ = _run(net)
        unused = [place.name for place, unit in units.items() if not calls[unit]]
        if unused:
            raise ValueError("these activations can't be swapped, as the network does not call them by these "
                             'names: %s' % ', '.join(unused))
        undo.pop_all()
    net.apply(lambda block: block._clear_cached_op())


def _put(place, block):
    parent = place.around[-1]
    parent._children[place.key] = block
    if place.key in vars(parent):
        vars(parent)[place.key] = block  # an assignment would insist on a block of the old one's class

"""Fine-tuning: parameters that training leaves alone, and a rate of its own for the last layer."""
from __future__ import annotations

import difflib
import fnmatch

from mxnet import gluon


def freeze(net: gluon.Block, patterns: str) -> None:
    """Exclude parameters of ``net``, not yet run, from training.

    A BatchNorm that is frozen whole normalises by its running statistics in training too, and keeps them.

    Parameters
    ----------
    net : mxnet.gluon.Block
    patterns : str
        Globs of structural names, such as 'features.*', separated by commas.

    Raises
    ------
    ValueError
        If a pattern matches no name, with the nearest ones, if nothing is left to train, or if a bias would
        be trained without its weight: MXNet 1.9.1 then computes no gradient for it on a CPU.
    """
    parameters = net._collect_params_with_prefix()
    matched: set[str] = set()
    for pattern in patterns.split(','):
        matches = fnmatch.filter(parameters, pattern)
        if not matches:
            near = difflib.get_close_matches(pattern, parameters, n=3, cutoff=0) or [*parameters][:3]
            raise ValueError(f'no parameter is called {pattern!r}; the nearest names are {", ".join(near)}')
        matched.update(matches)
    frozen = [name for name in parameters if name in matched]
    if not any(parameter.grad_req != 'null' for name, parameter in parameters.items() if name not in frozen):
        raise ValueError(f'{patterns!r} leaves nothing to train; freeze less, such as '
                         f'{next(iter(parameters)).split(".")[0] + ".*"!r}')
    for name in frozen:  # all are checked before the first is frozen
        bias = name.removesuffix('weight') + 'bias'
        if bias != name and bias in parameters and bias not in matched:
            raise ValueError(f'{patterns!r} freezes {name} and not {bias}, which MXNet cannot train alone; '
                             'freeze both or neither')
    for name in frozen:
        parameters[name].grad_req = 'null'
        block, _, last = name.rpartition('.')
        if last == 'running_mean' and matched.issuperset(f'{block}.{other}' for other in ('gamma', 'beta')):
            _block_of(net, block)._kwargs['use_global_stats'] = True


def _block_of(net: gluon.Block, name: str) -> gluon.Block:
    for child in name.split('.'):
        net = net._children[child]
    return net


def scale_head_rate(net: gluon.Block, head: str, factor: float) -> None:
    """Multiply the learning rate of the dense layer with the structural name ``head`` by ``factor``.

    Raises
    ------
    ValueError
        If the layer is frozen.
    """
    parameters = [parameter for name, parameter in net._collect_params_with_prefix().items()
                  if name.startswith(head + '.')]
    if all(parameter.grad_req == 'null' for parameter in parameters):
        raise ValueError(f'the last layer, {head}, is frozen; leave one of the two out')
    for parameter in parameters:
        parameter.lr_mult = factor


def keeps_statistics(net: gluon.Block) -> bool:
    """Return whether ``net`` has BatchNorms, and all of them keep their running statistics in training."""
    blocks: list[gluon.Block] = []
    net.apply(blocks.append)
    norms = [block for block in blocks if isinstance(block, gluon.nn.BatchNorm)]
    return bool(norms) and all(norm._kwargs['use_global_stats'] for norm in norms)

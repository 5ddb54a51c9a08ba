"""Fine-tuning of Gluon networks: frozen parameters, and a separate learning rate for the last layer."""
from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from openatac.errors import UsageError
from openatac.zoo.fine_tuning import frozen_head_error, frozen_norms, select_frozen

if TYPE_CHECKING:
    from mxnet import gluon


def freeze(net: gluon.Block, patterns: str) -> None:
    """Exclude parameters of ``net``, which must not have run yet, from training.

    A completely frozen BatchNorm normalises by its running statistics in training too, and does not update
    them.

    Parameters
    ----------
    net : mxnet.gluon.Block
    patterns : str
        Globs of structural names, such as 'features.*', separated by commas.

    Raises
    ------
    UsageError
        If a pattern matches no name (the message lists the nearest ones), if nothing is left to train, or if
        a bias would be trained without its weight: MXNet 1.9.1 then computes no gradient for it on a CPU.
        (PyTorch's ``freeze`` raises only the first two.)
    """
    parameters = net._collect_params_with_prefix()
    trained = [name for name, parameter in parameters.items() if parameter.grad_req != 'null']
    frozen = select_frozen(parameters, trained, patterns)
    _check_biases(parameters, frozen, patterns)
    for name in frozen:
        parameters[name].grad_req = 'null'
    for block in frozen_norms(frozen):
        _block_of(net, block)._kwargs['use_global_stats'] = True


def _check_biases(names: Collection[str], frozen: Collection[str], patterns: str) -> None:
    for name in frozen:
        bias = name.removesuffix('weight') + 'bias'
        if name.endswith('weight') and bias in names and bias not in frozen:
            raise UsageError(f'{patterns!r} freezes {name} but not {bias}, which MXNet cannot train alone; '
                             'freeze both or neither')


def _block_of(net: gluon.Block, name: str) -> gluon.Block:
    for child in name.split('.'):
        net = net._children[child]
    return net


def scale_head_rate(net: gluon.Block, head: str, factor: float) -> None:
    """Multiply the learning rate of the dense layer with the structural name ``head`` by ``factor``.

    Raises
    ------
    UsageError
        If the layer is frozen.
    """
    parameters = [parameter for name, parameter in net._collect_params_with_prefix().items()
                  if name.startswith(head + '.')]
    if all(parameter.grad_req == 'null' for parameter in parameters):
        raise frozen_head_error(head)
    for parameter in parameters:
        parameter.lr_mult = factor


def keeps_statistics(net: gluon.Block) -> bool:
    """Return whether ``net`` has BatchNorms and none of them updates its running statistics in training."""
    from mxnet import gluon
    blocks: list[gluon.Block] = []
    net.apply(blocks.append)
    norms = [block for block in blocks if isinstance(block, gluon.nn.BatchNorm)]
    return bool(norms) and all(norm._kwargs['use_global_stats'] for norm in norms)

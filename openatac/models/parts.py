"""Parts shared by hosts: the activations of their slots, the attention that ends a block, CIFAR stages.

Each host has four slots, front to back: in the pre-activation CIFAR host, its three stages and the activation
after the last one; in the others, their four stages. ``act_layers`` of the four get ``act_type`` and the rest
``replace_act``: the last ones (``act_order='bac'``, from the back) or the first ones (``'pre'``).
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.errors import SettingError
from openatac.limits import check_whole
from openatac.nn.activations import ACTIVATIONS
from openatac.nn.attention import ATTENTIONS
from openatac.registry import Factory, bind

SLOTS = 4


def place_activations(act_type: str, replace_act: str, act_layers: int, act_order: str = 'bac',
                      **settings: Any) -> list[Factory]:
    """Return the activation of each of the four slots, with those of the ``settings`` that it accepts.

    Parameters
    ----------
    act_type, replace_act : str
        Names in `openatac.nn.activations.ACTIVATIONS`.
    act_layers : int
        How many slots get ``act_type``.
    act_order : 'bac' or 'pre', default 'bac'
        Whether these are the last slots or the first.
    **settings
        Those of ChaATAC: ``r``, ``useReLU`` and ``useGlobal``.

    Returns
    -------
    list of callable
        ``activation(channels)`` builds the activation of a slot.

    Raises
    ------
    ValueError
        For an unknown name, ``act_layers`` outside 0..4 or an unknown ``act_order``.
    """
    chosen = bind(ACTIVATIONS.find(act_type), **settings)
    other = bind(ACTIVATIONS.find(replace_act, 'replace_act'), **settings)
    check_whole('act_layers', act_layers, 0, SLOTS)
    if act_order not in ('bac', 'pre'):
        raise SettingError('act_order', 'act_order must be bac (from the back) or pre (from the front), not '
                           f'{act_order!r}')
    first, last = [other] * (SLOTS - act_layers), [chosen] * act_layers
    return first + last if act_order == 'bac' else last + first


def find_attention(name: str | None, reduction: float) -> Factory | None:
    """Return the factory of the attention block of that name; None for no name."""
    return None if name is None else bind(ATTENTIONS.find(name), reduction=reduction)


def cifar_stage(block: type[HybridBlock], index: int, blocks: int, in_channels: int, channels: int,
                **arguments: Any) -> nn.HybridSequential:
    """Stack the blocks of a stage; the first changes the channels and, after stage 0, halves the sides.

    Parameters
    ----------
    block : type
        The class of the blocks.
    index, blocks : int
        The stage's number, from 0, and how many blocks it has.
    in_channels, channels : int
        Channels of the stage's input and of its output.
    **arguments
        The other arguments of each block.
    """
    stage = nn.HybridSequential(prefix=f'stage{index + 1}_')
    with stage.name_scope():
        for position in range(blocks):
            stage.add(block(channels, stride=2 if index > 0 and position == 0 else 1,
                            in_channels=channels if position else in_channels, **arguments))
    return stage

"""Parts shared by hosts: the attention at the end of a block, and CIFAR stages."""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.registry import Factory, bind_accepted
from openatac.zoo.units import ATTENTIONS


def find_attention(name: str | None, reduction: float) -> Factory | None:
    """Return the factory of the attention block called ``name``; None for no name."""
    return None if name is None else bind_accepted(ATTENTIONS.find(name).gluon, reduction=reduction)


def cifar_stage(block: type[HybridBlock], index: int, blocks: int, in_channels: int, channels: int,
                **arguments: Any) -> nn.HybridSequential:
    """Stack the blocks of a stage; the first changes the channels and, after stage 0, halves the sides.

    Parameters
    ----------
    block : type
        The class of the blocks.
    index, blocks : int
        The stage's number, from 0, and its number of blocks.
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

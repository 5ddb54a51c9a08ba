"""Parts shared by hosts: the attention at the end of a block, and CIFAR stages."""
from __future__ import annotations

from typing import Any

from torch import nn

from openatac.registry import Factory, bind_accepted
from openatac.zoo.units import ATTENTIONS


def find_attention(name: str | None, reduction: float) -> Factory:
    """Return the factory of the attention block called ``name``; the identity for no name."""
    if name is None:
        return nn.Identity
    return bind_accepted(ATTENTIONS.find(name).torch, reduction=reduction)


class Stage(nn.Sequential):
    """The blocks of a host's stage; ``number`` counts the stages from 1."""

    number = 0


def cifar_stage(block: type[nn.Module], index: int, blocks: int, in_channels: int, channels: int,
                **arguments: Any) -> Stage:
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
    stage = Stage(*(
        block(channels, stride=2 if index > 0 and position == 0 else 1,
              in_channels=channels if position else in_channels, **arguments) for position in range(blocks)))
    stage.number = index + 1
    return stage

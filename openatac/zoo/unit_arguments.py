"""Check the arguments of units and compute widths from them, for MXNet and PyTorch."""
from __future__ import annotations

import math

from openatac.argument_checks import check_number, check_odd, check_whole
from openatac.errors import ArgumentError
from openatac.limits import MAX_CHANNELS

GATHER_EXCITE_VARIANTS = ('theta-', 'theta', 'theta+')

# Subtracted from the logit of a pixel outside the image; exp(-MASK_LOGIT) is 0, in float16 too.
MASK_LOGIT = 3e4


def bottleneck(channels: int, ratio: float, argument: str) -> int:
    """Return the channels of a bottleneck, ``channels // ratio``; raise ArgumentError if it has none.

    ``argument`` is the name of the channel reduction ratio in messages.
    """
    check_whole('channels', channels, 1, MAX_CHANNELS)
    check_number(argument, ratio, 'the channel reduction ratio', above=0)
    if channels // ratio < 1:
        raise ArgumentError(argument, f'{argument}={ratio!r} leaves no bottleneck in a unit of {channels} '
                            f'channels: choose it from 1 to {channels}')
    return int(channels // ratio)


def eca_kernel(channels: int, gamma: float, b: float) -> int:
    """Return the number of neighbours for a gate of ECA: (log2(channels) + b) / gamma, made odd."""
    check_whole('channels', channels, 1, MAX_CHANNELS)
    check_number('gamma', gamma, above=0)
    check_number('b', b)
    kernel = int(abs((math.log2(channels) + b) / gamma))
    return kernel if kernel % 2 else kernel + 1


def check_gather_excite(extent: int, variant: str) -> None:
    """Raise ArgumentError unless these are settings of a gathering."""
    if variant not in GATHER_EXCITE_VARIANTS:
        raise ArgumentError('variant', f'variant must be one of {", ".join(GATHER_EXCITE_VARIANTS)}, not '
                            f'{variant!r}')
    if extent not in [0] + [2 ** n for n in range(1, 11)]:
        raise ArgumentError('extent', 'extent must be 0 (the whole image) or a power of two from 2 to 1024, '
                            f'not {extent!r}')


def attention_widths(channels: int, kernel_size: int, strides: int, kappa: float, upsilon: float, heads: int,
                     key_depth: int) -> tuple[int, int]:
    """Return (channels of all heads' keys, of all their values) in an attention-augmented convolution.

    Raises
    ------
    ArgumentError
        If the arguments do not describe such a convolution.
    """
    check_odd('kernel_size', kernel_size)
    if strides not in (1, 2):
        raise ArgumentError('strides', f'strides must be 1 or 2, not {strides!r}')
    check_whole('heads', heads, 1, MAX_CHANNELS)
    check_whole('key_depth', key_depth, 1, MAX_CHANNELS)
    check_number('kappa', kappa, above=0)
    check_number('upsilon', upsilon, above=0, below=1)
    keys = heads * max(key_depth, round(kappa * channels / heads))
    values = heads * max(1, round(upsilon * channels / heads))
    if values >= channels:
        raise ArgumentError('upsilon', f'upsilon={upsilon!r} gives {heads} heads all {channels} channels: '
                            'choose a smaller one, or fewer heads')
    return keys, values


def check_heads(channels: int, heads: int, parts: int) -> None:
    """Raise ArgumentError unless ``channels`` can be divided among ``parts`` of the attention heads."""
    check_whole('channels', channels, 1, MAX_CHANNELS)
    check_whole('heads', heads, 1, MAX_CHANNELS)
    if channels % parts:
        raise ArgumentError('heads', f'{heads} heads need a multiple of {parts} channels, not {channels}')


def check_groups(channels: int, num_groups: int) -> None:
    """Raise ArgumentError unless a GroupNorm can divide ``channels`` into ``num_groups`` groups."""
    check_whole('channels', channels, 1, MAX_CHANNELS)
    check_whole('num_groups', num_groups, 1, MAX_CHANNELS)
    if channels % num_groups:
        raise ArgumentError('num_groups', f'num_groups must divide the {channels} channels, but '
                            f'{num_groups!r} does not')

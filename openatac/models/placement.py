"""Which of a host's activation slots get the activation under study.

Each host has four slots, front to back: the pre-activation CIFAR host its three stages and the activation
after the last one, the others their four stages. ``act_layers`` of the four get ``act_type`` and the rest
``replace_act``: the last ones (``act_order='bac'``, from the back) or the first ones (``'pre'``).
"""
from __future__ import annotations

from typing import TypeVar

from openatac.arguments import check_whole

SLOTS = 4
ORDERS = ('bac', 'pre')
T = TypeVar('T')


def place(chosen: T, other: T, act_layers: int, act_order: str = 'bac') -> list[T]:
    """What each of the four slots gets.

    Raises
    ------
    ValueError
        For ``act_layers`` outside 0..4 and an unknown ``act_order``.
    """
    check_whole('act_layers', act_layers, 0, SLOTS)
    if act_order not in ORDERS:
        raise ValueError(f'act_order must be bac (from the back) or pre (from the front), not {act_order!r}')
    first, last = [other] * (SLOTS - act_layers), [chosen] * act_layers
    return first + last if act_order == 'bac' else last + first

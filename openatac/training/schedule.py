"""The learning rate as a function of the iteration, equal to GluonCV's LRScheduler to the last bit.

GluonCV's scheduler needs MXNet; these functions also work for PyTorch on machines without it.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from openatac.errors import FlagError, OpenatacError


def step_schedule(base_lr: float, epochs: int, iterations_per_epoch: int, decay_epochs: Sequence[int],
                  factor: float) -> Callable[[int], float]:
    """Multiply the rate by ``factor`` at the start of each of ``decay_epochs`` (the CIFAR recipe).

    Returns
    -------
    function
        Maps the iteration, counted from 0 over all epochs, to the rate.
    """
    stepped = _stepped(base_lr, factor, [epoch * iterations_per_epoch for epoch in decay_epochs])
    last = epochs * iterations_per_epoch - 1
    return lambda iteration: stepped(min(iteration, last))


def warmup_schedule(mode: str, base_lr: float, epochs: int, iterations_per_epoch: int,
                    warmup_epochs: int = 0, warmup_lr: float = 0.0, decay_epochs: Sequence[int] = (),
                    factor: float = 0.1) -> Callable[[int], float]:
    """Grow linearly from ``warmup_lr`` to ``base_lr``, then decay as in ``mode`` (the ImageNet recipe).

    Parameters
    ----------
    mode : str
        'step' (times ``factor`` at each of ``decay_epochs``), 'poly' (a parabola to 0) or 'cosine' (to 0).
    base_lr, warmup_lr : float
        The rates after the warm-up and at its start.
    epochs, warmup_epochs : int
        The total number of epochs, and the number of them for the warm-up.
    iterations_per_epoch : int
        As published, images // batch. A reader that rounds its last batch up has one more in some epochs: see
        `openatac.data.photos.batches.first_iteration`.
    decay_epochs : sequence of int
    factor : float

    Returns
    -------
    function
        Maps the iteration, counted from 0 over all epochs, to the rate. It begins one step ahead, like
        MXNet's optimizers, which count an update before they ask for its rate.

    Raises
    ------
    OpenatacError
        If the warm-up or the rest has a single iteration.
    """
    warming, total = warmup_epochs * iterations_per_epoch, epochs * iterations_per_epoch
    if 1 in (warming, total - warming):
        raise OpenatacError('a schedule of one iteration has no beginning and end: train on more images, for '
                            'more epochs or with a smaller --batch-size')
    steps = [(epoch - warmup_epochs) * iterations_per_epoch for epoch in decay_epochs]
    warmup = _between('linear', warmup_lr, base_lr, warming - 1)
    decay = (_stepped(base_lr, factor, steps) if mode == 'step' else
             _between(mode, base_lr, 0, total - warming - 1))

    def rate(iteration: int) -> float:
        update = min(iteration + 1, total - 1)
        return warmup(update) if update < warming else decay(update - warming)

    return rate


def _stepped(rate: float, factor: float, steps: Sequence[int]) -> Callable[[int], float]:
    """Return the rate as a function of the iteration, multiplied by ``factor`` at each of ``steps``."""
    return lambda iteration: rate * factor ** sum(step <= iteration for step in steps)


def _between(mode: str, start: float, end: float, last: int) -> Callable[[int], float]:
    """Return the rate as a function of the iteration, ``start`` at 0 and ``end`` at ``last``."""
    left = _LEFT[mode]
    return lambda iteration: end + (start - end) * left(iteration, last)


# The share of the way to the last rate that is left at an iteration, rounded as GluonCV does.
_LEFT: dict[str, Callable[[int, int], float]] = {
    'linear': lambda now, last: 1 - now / last,
    'poly': lambda now, last: (1 - now / last) ** 2,
    'cosine': lambda now, last: (1 + math.cos(math.pi * now / last)) / 2}


def decay_epochs(listed: str, period: int, epochs: int) -> list[int]:
    """Return the epochs ``listed`` in a text ('300,350') or, if ``period`` is set, every ``period``-th.

    Raises
    ------
    FlagError
        If the text is not a list of epochs.
    """
    if period > 0:
        return list(range(period, epochs, period))
    fields = [field.strip() for field in listed.split(',') if field.strip()]
    if not all(re.fullmatch('[0-9]{1,9}', field) for field in fields):
        raise FlagError('--lr-decay-epoch', f'{listed!r} is not a list of epochs like 300,350')
    return [int(field) for field in fields]

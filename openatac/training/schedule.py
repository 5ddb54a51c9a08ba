"""The learning rate as a function of the iteration, equal to GluonCV's LRScheduler to the last bit.

GluonCV's scheduler needs MXNet; these functions also work for PyTorch on machines without it.
"""
from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Callable

from openatac.errors import OpenatacError


def step_schedule(base_lr: float, epochs: int, iterations_per_epoch: int, decay_epochs: Sequence[int],
                  factor: float) -> Callable[[int], float]:
    """Multiply the rate by ``factor`` at the start of each of ``decay_epochs`` (the CIFAR recipe).

    Returns
    -------
    function
        Maps the iteration, counted from 0 over all epochs, to the rate.
    """
    return _Phase('step', base_lr, 0, epochs * iterations_per_epoch, 0,
                  [epoch * iterations_per_epoch for epoch in decay_epochs], factor)


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
    warmup = _Phase('linear', warmup_lr, base_lr, warming, 0)
    decay = _Phase(mode, base_lr, 0, total - warming, warming,
                   [(epoch - warmup_epochs) * iterations_per_epoch for epoch in decay_epochs], factor)

    def rate(iteration: int) -> float:
        update = min(iteration + 1, total - 1)
        return (warmup if update < warming else decay)(update)

    return rate


class _Phase:
    """The rates from ``start`` to ``end`` over ``iterations`` iterations from ``offset`` on.

    With 'step' the rate is multiplied by ``factor`` after each of ``steps``. The last rate holds after that.
    """

    def __init__(self, mode: str, start: float, end: float, iterations: int, offset: int,
                 steps: Sequence[int] = (), factor: float = 1.0) -> None:
        self.mode, self.start, self.end = mode, start, end
        self.last, self.offset, self.steps, self.factor = iterations - 1, offset, steps, factor

    def __call__(self, iteration: int) -> float:
        now = min(max(0, iteration - self.offset), self.last)
        if self.mode == 'step':
            return self.start * self.factor ** sum(step <= now for step in self.steps)
        left = {'linear': 1 - now / self.last, 'poly': (1 - now / self.last) ** 2,
                'cosine': (1 + math.cos(math.pi * now / self.last)) / 2}
        return self.end + (self.start - self.end) * left[self.mode]


def decay_epochs(listed: str, period: int, epochs: int) -> list[int]:
    """Return the epochs ``listed`` in a text ('300,350') or, if ``period`` is set, every ``period``-th.

    Raises
    ------
    ValueError
        If the text is not a list of epochs.
    """
    if period > 0:
        return list(range(period, epochs, period))
    fields = [field.strip() for field in listed.split(',') if field.strip()]
    if not all(re.fullmatch('[0-9]{1,9}', field) for field in fields):
        raise ValueError(f'argument --lr-decay-epoch: {listed!r} is not a list of epochs like 300,350')
    return [int(field) for field in fields]

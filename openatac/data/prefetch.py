"""Helpers for all kinds of batches: size checks, grouping, and a thread that prepares batches in advance."""
from __future__ import annotations

import collections
import itertools
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from openatac.errors import DataError

AHEAD = 2  # batches to prepare in advance

Batch = TypeVar('Batch')
Item = TypeVar('Item')


def check_batch_fits(images: int, batch_size: int) -> None:
    """Raise DataError if the training set has fewer images than one batch."""
    if images < batch_size:
        raise DataError(f'the training set has {images} images, fewer than one batch of {batch_size}: choose '
                        'a smaller --batch-size')


def part_size(batch_size: int, num_parts: int) -> int:
    """Return the number of images in each part of a batch; raise DataError if it does not divide evenly."""
    if batch_size % num_parts:
        raise DataError(f'a batch of {batch_size} cannot be divided among {num_parts} workers: choose a '
                        f'multiple of {num_parts}')
    return batch_size // num_parts


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last one can be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def prefetch(batches: Iterable[Batch], ahead: int = AHEAD) -> Generator[Batch, None, None]:
    """Iterate over ``batches`` while a background thread prepares up to ``ahead`` of the next ones.

    An error in the thread is raised here. Leaving the loop early stops the thread. ``ahead`` 0 starts no
    thread.
    """
    if not ahead:
        yield from batches
        return
    iterator, end = iter(batches), cast(Batch, object())
    thread = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
    try:
        pending = collections.deque(thread.submit(next, iterator, end) for _ in range(ahead + 1))
        while (batch := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, iterator, end))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)

"""Threads that prepare batches in advance, and that apply a function to many items."""
from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from openatac.data.batch_sizes import batched

AHEAD = 2  # batches to prepare in advance
ITEMS_PER_THREAD = 16  # held in memory at a time

Item = TypeVar('Item')
Result = TypeVar('Result')


def prefetch(batches: Iterable[Item], ahead: int = AHEAD) -> Generator[Item, None, None]:
    """Iterate over ``batches`` while a background thread prepares up to ``ahead`` of the next ones.

    An error in the thread is raised here. Leaving the loop early stops the thread. ``ahead`` 0 starts no
    thread.
    """
    if not ahead:
        yield from batches
        return
    iterator = iter(batches)
    end = cast(Item, object())
    thread = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
    try:
        pending = collections.deque(thread.submit(next, iterator, end) for _ in range(ahead + 1))
        while (batch := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, iterator, end))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item],
                 workers: int) -> Iterator[tuple[Item, Result]]:
    """Yield (item, function(item)) for each item in order.

    Threads are enough, since decoding and compressing images release Python's global lock.
    """
    with ThreadPoolExecutor(workers) as threads:
        for chunk in batched(items, ITEMS_PER_THREAD * workers):
            yield from zip(chunk, threads.map(function, chunk))

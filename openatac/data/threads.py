"""Apply a function to many items in threads, with the results in order."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from openatac.data.batch_sizes import batched

ITEMS_PER_THREAD = 16  # held in memory at a time

Item = TypeVar('Item')
Result = TypeVar('Result')


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item],
                 workers: int) -> Iterator[tuple[Item, Result]]:
    """Yield (item, function(item)) for each item in order.

    Threads are enough, since decoding and compressing images release Python's global lock.
    """
    with ThreadPoolExecutor(workers) as threads:
        for chunk in batched(items, ITEMS_PER_THREAD * workers):
            yield from zip(chunk, threads.map(function, chunk))

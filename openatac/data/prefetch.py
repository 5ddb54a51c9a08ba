"""A thread that prepares batches in advance."""
from __future__ import annotations

import collections
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

AHEAD = 2  # batches to prepare in advance

Item = TypeVar('Item')


def prefetch(batches: Iterable[Item], ahead: int = AHEAD) -> Generator[Item, None, None]:
    """Iterate over ``batches`` while a background thread prepares up to ``ahead`` of the next ones.

    An error in the thread is raised here. Leaving the loop early stops the thread. ``ahead`` 0 starts no
    thread.
    """
    if not ahead:
        yield from batches
        return
    iterator, end = iter(batches), cast(Item, object())
    thread = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
    try:
        pending = collections.deque(thread.submit(next, iterator, end) for _ in range(ahead + 1))
        while (batch := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, iterator, end))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)

"""Worker processes that prepare batches of images in advance, in memory shared with this process.

Each worker is a child process with its own pipe, and prepares its share of every batch. If a worker dies, its
pipe closes and the reader raises an error. If the reader dies for any reason, the pipes close and the workers
exit. The shared memory is an unnamed file, so nothing is left behind.
"""
from __future__ import annotations

import collections
import contextlib
import logging
import math
import os
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from openatac.data.images.bad_images import Reasons
from openatac.data.photos.worker_process import PrepareImage, WorkerFailure, fill, shared_arrays
from openatac.errors import DataError, reason
from openatac.image_size import Size, sides
from openatac.system.memory import MMAP_THRESHOLD, TRIM_THRESHOLD
from openatac.system.piped_child import PipedChild

log = logging.getLogger('openatac')
IN_WORK = 2  # batches in preparation, not counting those the reader holds

# One thread per worker, since they share the processors.
ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'OPENCV_FOR_THREADS_NUM': '1'}

# Workers keep freed memory, unless the user has configured malloc: by default glibc can return each of an
# image's temporary arrays to the system and fault it in again page by page (see openatac.system.memory).
MALLOC = {'MALLOC_MMAP_THRESHOLD_': str(MMAP_THRESHOLD), 'MALLOC_TRIM_THRESHOLD_': str(TRIM_THRESHOLD)}

Prepared = tuple[np.ndarray, np.ndarray, Reasons]  # a batch: images, labels, unreadable images

_WORK = 'from openatac.data.photos.worker_process import work; work(int(sys.argv[1]), int(sys.argv[2]))'


class PhotoWorkers:
    """Batches of images that a function prepares in worker processes.

    Parameters
    ----------
    prepare_image : callable that can be pickled
        ``prepare_image(key, out)`` fills ``out``, float32 (3, H, W), and returns (label, bad). The label is
        NaN if the key yields no image, and bad lists (index, reason) for each image it could not read.
    batch_size : int
        The largest batch.
    size : Size
        Of an image.
    workers : int
        The number of processes; with 0, this process prepares batches on demand.
    """

    def __init__(self, prepare_image: PrepareImage, batch_size: int, size: Size, workers: int) -> None:
        self._prepare_image = prepare_image
        self._workers = min(workers, batch_size)
        if os.name == 'nt' and workers:  # child processes inherit no descriptors there
            log.warning('on Windows this process reads the photographs itself and ignores -j')
            self._workers = 0
        self._shape = (batch_size, 3, *sides(size))
        self._memory: tuple[np.ndarray, ...] = ()  # images and labels, shared with the children
        self._children: list[PipedChild] = []
        weakref.finalize(self, _kill, self._children)
        self._replies_due = 0
        self._lock = threading.Lock()
        self._turn = 0

    def prepare(self, batches: Iterable[Sequence[Any]]) -> Iterator[Prepared]:
        """Prepare a batch for each list of keys, in order; each call invalidates earlier ones.

        Returns
        -------
        iterator of (images, labels, unreadable)
            float32 (B, 3, H, W) and (B,), owned by the caller, and the unreadable images.

        Raises
        ------
        DataError
            If a worker process cannot start or dies, or ``prepare_image`` raises it.
        """
        return self._in_processes(batches) if self._workers else self._here(batches)

    def _here(self, batches: Iterable[Sequence[Any]]) -> Iterator[Prepared]:
        for keys in batches:
            images = np.empty((len(keys), *self._shape[1:]), 'float32')
            labels = np.empty(len(keys), 'float32')
            yield images, labels, fill(self._prepare_image, keys, images, labels)

    def _in_processes(self, batches: Iterable[Sequence[Any]]) -> Iterator[Prepared]:
        with self._lock:
            self._turn += 1
            turn = self._turn
            self._make_ready()
        waiting = iter(batches)
        slots = collections.deque(range(IN_WORK))
        pending: collections.deque[tuple[int, int]] = collections.deque()
        while True:
            with self._lock:
                if turn != self._turn:
                    raise RuntimeError('these batches ended when others were started')
                while slots and (keys := next(waiting, None)) is not None:
                    self._send(slots[0], keys)
                    pending.append((slots.popleft(), len(keys)))
                if not pending:
                    return
                slot, count = pending.popleft()
                bad, failures = self._receive()
                for kind, text in failures:
                    raise kind(text)
                images, labels = (memory[slot, :count].copy() for memory in self._memory)
                slots.append(slot)
            yield images, labels, bad

    def _stop(self) -> None:
        _kill(self._children)
        self._children.clear()
        self._replies_due = 0

    def _make_ready(self) -> None:
        """Start the processes, or wait for the batches that an earlier call no longer needs."""
        if self._children:
            while self._replies_due:
                self._receive()
            return
        size = 4 * IN_WORK * (math.prod(self._shape) + self._shape[0])
        with tempfile.TemporaryFile(dir=_memory_folder(size)) as file:
            file.truncate(size)
            self._memory = shared_arrays(file.fileno(), IN_WORK, *self._shape)
            try:
                for _ in range(self._workers):
                    self._start_one(file.fileno())
            except OSError as error:
                self._stop()
                raise DataError(f'cannot start {self._workers} worker processes ({reason(error)}): ask for '
                                'fewer with -j') from error

    def _start_one(self, memory_descriptor: int) -> None:
        child = PipedChild(_WORK, {**MALLOC, **os.environ, **ENVIRONMENT}, memory_descriptor)
        self._children.append(child)
        with self._watched(child):
            child.pipe.send((self._prepare_image, IN_WORK, self._shape))

    def _send(self, slot: int, keys: Sequence[Any]) -> None:
        """Send each process its share of a batch."""
        bounds = [len(keys) * k // self._workers for k in range(self._workers + 1)]
        for k, child in enumerate(self._children):
            with self._watched(child):
                child.pipe.send((slot, bounds[k], keys[bounds[k]:bounds[k + 1]]))
        self._replies_due += 1

    def _receive(self) -> tuple[Reasons, list[WorkerFailure]]:
        """Wait for the oldest pending batch; return its bad images and failures."""
        bad: Reasons = []
        failures: list[WorkerFailure] = []
        for child in self._children:
            with self._watched(child):
                more, failure = child.pipe.recv()
            bad += more
            failures += [failure] if failure else []
        self._replies_due -= 1
        return bad, failures

    @contextlib.contextmanager
    def _watched(self, child: PipedChild) -> Iterator[None]:
        """Raise DataError if the child ends within the body."""
        try:
            yield
        except (EOFError, OSError):
            end = child.describe_end()
            self._stop()
            raise DataError(
                f'a worker process that reads images (process {child.pid}) {end}: start again, with fewer '
                f'than {self._workers} workers (-j) if memory is short') from None


def _kill(children: Sequence[PipedChild]) -> None:
    """Kill worker processes, which have nothing to save."""
    for child in children:
        child.kill()
    for child in children:
        child.close()


def _memory_folder(size: int) -> str | None:
    """Return the system's shared-memory folder if it has room, or None for the temporary folder."""
    with contextlib.suppress(OSError):
        state = os.statvfs('/dev/shm')
        if state.f_bavail * state.f_frsize >= size and os.access('/dev/shm', os.W_OK):
            return '/dev/shm'
    return None

"""A worker process of `openatac.data.photos.workers`, which prepares shares of batches."""
from __future__ import annotations

import contextlib
import mmap
import multiprocessing.connection
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from openatac.console.pillow_warnings import hide_pillows_warnings
from openatac.data.images.bad_images import Reasons
from openatac.errors import DataError

PrepareImage = Callable[[Any, np.ndarray], tuple[float, Reasons]]
WorkerFailure = tuple[type[Exception], str]


def shared_arrays(descriptor: int, slots: int, batch_size: int,
                  *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays in the shared file: images (slots, B, ...) and labels (slots, B)."""
    memory = np.frombuffer(mmap.mmap(descriptor, 0), 'float32')
    images, labels = np.split(memory, [len(memory) - slots * batch_size])
    return images.reshape(slots, batch_size, *shape), labels.reshape(slots, batch_size)


def work(pipe_descriptor: int, memory_descriptor: int) -> None:
    """Run a worker process: prepare shares of batches until the pipe closes."""
    hide_pillows_warnings()
    with contextlib.suppress(EOFError, OSError), \
            multiprocessing.connection.Connection(pipe_descriptor) as pipe:
        prepare_image, slots, shape = pipe.recv()
        images, labels = shared_arrays(memory_descriptor, slots, *shape)
        os.close(memory_descriptor)
        while True:
            slot, first, keys = pipe.recv()
            pipe.send(_reply(prepare_image, keys, images[slot, first:], labels[slot, first:]))


def _reply(prepare_image: PrepareImage, keys: Sequence[Any], images: np.ndarray,
           labels: np.ndarray) -> tuple[Reasons, WorkerFailure | None]:
    """Return (bad images, None), or ([], (the kind of error to raise, its text))."""
    try:
        return fill(prepare_image, keys, images, labels), None
    except (DataError, ImportError) as error:
        return [], (type(error), str(error))
    except Exception:
        return [], (RuntimeError, traceback.format_exc())


def fill(prepare_image: PrepareImage, keys: Sequence[Any], images: np.ndarray,
         labels: np.ndarray) -> Reasons:
    """Prepare the images for ``keys``; return the unreadable ones."""
    bad: Reasons = []
    for position, key in enumerate(keys):
        labels[position], more = prepare_image(key, images[position])
        bad += more
    return bad

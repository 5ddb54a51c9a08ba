"""Run the images of concurrent requests together."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np


class Batcher:
    """Runs a network in one thread, each time on all images that are waiting.

    No image waits for a batch to fill: a single image runs at once, and the next batch gathers meanwhile. One
    thread is enough, since engines divide a batch among the cores, and MXNet's networks are not thread-safe.

    Parameters
    ----------
    network : callable
        Maps images, float32 (B, C, H, W), to outputs (B, classes).
    batch_size : int
        The largest number of images to run at a time.

    Attributes
    ----------
    thread : ThreadPoolExecutor
        The thread, for other work with the same library.
    """

    def __init__(self, network: Callable[[np.ndarray], np.ndarray], batch_size: int) -> None:
        self._network = network
        self._batch_size = batch_size
        self._waiting: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
        self.thread = ThreadPoolExecutor(1, 'network')

    def submit(self, image: np.ndarray) -> Future[np.ndarray]:
        """Return a cancellable future of the outputs (classes,) of an image (C, H, W)."""
        outputs: Future[np.ndarray] = Future()
        self._waiting.append((image, outputs))
        self.thread.submit(self._run_waiting)
        return outputs

    def _run_waiting(self) -> None:
        batch: list[tuple[np.ndarray, Future[np.ndarray]]] = []
        while self._waiting and len(batch) < self._batch_size:
            image, outputs = self._waiting.popleft()
            if outputs.set_running_or_notify_cancel():
                batch.append((image, outputs))
        if not batch:  # an earlier call ran them all
            return
        try:
            results = self._network(np.stack([image for image, _ in batch]))
        except Exception as error:
            for _, outputs in batch:
                outputs.set_exception(error)
        else:
            for (_, outputs), result in zip(batch, results):
                outputs.set_result(result)

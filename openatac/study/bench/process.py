"""Measure an exported network in one runtime, in a separate process, on request.

Between its turns the process uses no processor time and little memory. All runtimes use the number of threads
and the malloc settings of `openatac.system`.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from openatac.errors import OpenatacError
from openatac.export.runtimes.base import RUNTIMES, Runtime
from openatac.system.memory import keep_freed_memory
from openatac.system.piped_child import PipedChild
from openatac.system.threads import set_threads, thread_count

if TYPE_CHECKING:
    import numpy as np

WARM_UP = 2      # untimed batches before a turn
MIN_BATCHES = 3  # timed in a turn
_TAKE_TURNS = 'from openatac.study.bench.process import take_turns; take_turns(int(sys.argv[1]))'


class Turn(NamedTuple):
    """The results of one turn: latencies of a batch in milliseconds, the speed, and how many batches ran."""

    p50_ms: float
    p95_ms: float
    images_per_second: float
    batches: int


class BenchProcess:
    """A running process for one export in one runtime; it warms up on a batch of each of the ``sizes``.

    Attributes
    ----------
    outputs : float32 (B, classes) or None
        The outputs for the first size; None if there is a problem.
    problem : str or None
        Why the network cannot be measured in this runtime, as an error message.

    Raises
    ------
    OpenatacError
        On construction and from `turn`, if the process dies.
    """

    def __init__(self, prefix: str, runtime: str, sizes: Sequence[int]) -> None:
        self._what = f'{prefix} in the engine {runtime}'
        self._child = PipedChild(
            _TAKE_TURNS, {**os.environ, 'OMP_NUM_THREADS': str(thread_count().threads),
                          'TORCHINDUCTOR_COMPILE_THREADS': '1'}, stdout=subprocess.DEVNULL)
        self.outputs, self.problem = self._ask((prefix, RUNTIMES.find(runtime), sizes))
        if self.problem:
            self.close()

    def turn(self, size: int, seconds: float) -> Turn:
        """Measure batches of ``size`` images for at least that many seconds."""
        return self._ask((size, seconds))

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def _ask(self, question: tuple[Any, ...]) -> Any:
        try:
            return self._child.ask(question)
        except (EOFError, OSError):
            end = self._child.describe_end()
            self.close()
            raise OpenatacError(f'{self._what}: the process {end}, perhaps for lack of memory: measure fewer '
                                'exports, or smaller batches, at a time') from None
        except BaseException:
            self.close()
            raise


# --------------------------------------------------------------------------- in the process

def take_turns(descriptor: int) -> None:
    """Open one runtime and take turns until the pipe with this descriptor closes."""
    with contextlib.suppress(EOFError, OSError), Connection(descriptor) as pipe:
        try:
            network, images, outputs = _open_warm(*pipe.recv())
        except (OpenatacError, ImportError) as error:
            pipe.send((None, str(error)))
            return
        pipe.send((outputs, None))
        while True:
            size, seconds = pipe.recv()
            turn = _turn(network, images[size], seconds)
            _release_memory(network, images)
            pipe.send(turn)


def _open_warm(prefix: str, runtime: type[Runtime], sizes: Sequence[int]
               ) -> tuple[Runtime, dict[int, np.ndarray], np.ndarray]:
    """Return (network, {size: images}, its outputs for the images of the first size)."""
    import numpy as np
    set_threads()
    keep_freed_memory()
    network = runtime.open(prefix)
    shape = network.manifest.image_shape
    images = {size: np.random.RandomState(0).randn(size, *shape).astype('float32') for size in sizes}
    for batch in images.values():
        for _ in range(WARM_UP):
            network(batch)
    outputs = network(images[sizes[0]])
    _release_memory(network, images)
    return network, images, outputs


def _release_memory(network: Runtime, images: dict[int, np.ndarray]) -> None:
    """Release memory, since many processes together can need more than the machine has.

    The last batch determines the size of MXNet's static memory, so it is a small one.
    """
    network(images[min(images)])
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _turn(network: Runtime, images: np.ndarray, seconds: float) -> Turn:
    import numpy as np
    for _ in range(WARM_UP):
        network(images)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_BATCHES or time.perf_counter() < end:
        start = time.perf_counter()
        network(images)
        times.append(time.perf_counter() - start)
    p50, p95 = (1000 * float(value) for value in np.percentile(times, (50, 95)))
    return Turn(p50, p95, len(times) * len(images) / sum(times), len(times))

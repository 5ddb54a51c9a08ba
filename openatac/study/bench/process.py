"""An exported network in one engine, in a process of its own, measured when it is asked to.

It waits between its turns without using a processor, and with little memory. All engines have the
same number of threads and the same settings of malloc, those of `openatac.runtime`.
"""
import contextlib
import ctypes
import json
import multiprocessing.connection
import os
import subprocess
import sys
import time
from typing import NamedTuple

from openatac.errors import OpenatacError
from openatac.export.runtimes.base import RUNTIMES
from openatac.runtime.memory import keep_freed_memory
from openatac.runtime.threads import set_threads, thread_count

WARM_UP, LEAST = 2, 3  # batches before a turn that do not count, and in it
_START = ('import json, sys; sys.path[:] = json.loads(sys.argv[1]); '
          'from openatac.study.bench.process import serve; serve(int(sys.argv[2]))')


class Turn(NamedTuple):
    """What one turn measured: latencies of a batch in milliseconds, and how many batches there were."""

    p50_ms: float
    p95_ms: float
    images_per_second: float
    batches: int


class BenchProcess:
    """The process; when it is made it has run each of the ``sizes`` of batches.

    outputs : of the first size, float32 (B, classes), or None where there is a problem
    problem : one sentence why the network can't be measured in this engine, or None

    Raises OpenatacError, here and from `turn`, if the process dies.
    """

    def __init__(self, prefix, engine, sizes):
        self._what = '%s in the engine %s' % (prefix, engine)
        self._pipe, theirs = multiprocessing.connection.Pipe()
        with theirs:
            # In a session of its own, out of reach of Ctrl-C: it ends when the pipe does.
            self._process = subprocess.Popen(
                [sys.executable, '-c', _START, json.dumps(sys.path), str(theirs.fileno())],
                env={**os.environ, 'OMP_NUM_THREADS': thread_count()[0],
                     'TORCHINDUCTOR_COMPILE_THREADS': '1'},
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                start_new_session=True)
        self.outputs, self.problem = self._ask((prefix, RUNTIMES.find(engine), sizes))
        if self.problem:
            self.close()

    def turn(self, size, seconds):
        """The `Turn` of batches of that size for at least so many seconds."""
        return self._ask((size, seconds))

    def close(self):
        """End the process."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, question):
        try:
            self._pipe.send(question)
            return self._pipe.recv()
        except (EOFError, OSError):
            raise OpenatacError('%s: the process ended with code %d, by a lack of memory perhaps: measure '
                                'fewer exports, or smaller batches, at a time'
                                % (self._what, self._process.wait())) from None
        except BaseException:
            self.close()
            raise


# --------------------------------------------------------------------------- in the process

def serve(file):
    """The life of the process: one engine, and turns until the pipe ``file`` ends."""
    with contextlib.suppress(EOFError, OSError), multiprocessing.connection.Connection(file) as pipe:
        engine, images = _warm_engine(pipe, *pipe.recv())
        while engine:
            size, seconds = pipe.recv()
            turn = _turn(engine, images[size], seconds)
            _rest(engine, images)
            pipe.send(turn)


def _warm_engine(pipe, prefix, runtime, sizes):
    """(engine, {size: images}), after the answer on the pipe; (None, None) if there is a problem."""
    import numpy as np

    set_threads()
    keep_freed_memory()
    try:
        engine = runtime.open(prefix)
        shape = engine.manifest.image_shape
        images = {size: np.random.RandomState(0).randn(size, *shape).astype('float32') for size in sizes}
        for batch in images.values():
            for _ in range(WARM_UP):
                engine(batch)
        outputs = engine(images[sizes[0]])
        _rest(engine, images)
    except (OpenatacError, ImportError) as error:
        pipe.send((None, str(error)))
        return None, None
    pipe.send((outputs, None))
    return engine, images


def _rest(engine, images):
    """Give back memory, of which many processes may need more together than there is.

    MXNet's static memory is as large as the last batch needs, so that is a small one here.
    """
    engine(images[min(images)])
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _turn(engine, images, seconds):
    import numpy as np
    for _ in range(WARM_UP):
        engine(images)
    times, end = [], time.perf_counter() + seconds
    while len(times) < LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        engine(images)
        times.append(time.perf_counter() - start)
    p50, p95 = (1000 * float(value) for value in np.percentile(times, (50, 95)))
    return Turn(p50, p95, len(times) * len(images) / sum(times), len(times))

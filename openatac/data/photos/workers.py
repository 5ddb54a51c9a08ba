"""Processes that make batches of images ahead of time, in memory shared with this one.

Each process makes its share of every batch. They are plain children with a pipe each: if one dies,
its pipe ends and the reader gets a sentence; if the reader dies, however it dies, theirs end and they
end too. The shared memory is a file without a name, which leaves nothing behind.
"""
import collections
import contextlib
import json
import mmap
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref

import numpy as np

from openatac.errors import DataError

AHEAD = 2  # batches in the making besides those that the reader has

# One thread each, as they share the processors.
ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'OPENCV_FOR_THREADS_NUM': '1'}

# They keep the memory that they free, unless the user has set malloc up: by default glibc may give each
# of an image's temporary arrays back, and take it again page by page (see openatac.runtime).
MEMORY = {'MALLOC_MMAP_THRESHOLD_': str(2 ** 25), 'MALLOC_TRIM_THRESHOLD_': str(2 ** 30)}

_START = '''
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from openatac.data.photos.workers import work
work(int(sys.argv[2]), int(sys.argv[3]))
'''


class PhotoWorkers:
    """Batches made by ``make(key, out)``, which fills ``out`` (3, size, size) and returns (label, bad).

    Parameters
    ----------
    make : object that can be pickled
        Its label is a number, NaN if there is no image for that key; ``bad`` lists (index, reason) of
        the images that it could not read.
    batch_size, size : int; the largest batch, and the side of an image
    workers : int; how many processes, 0 for none: then batches are made when they are asked for
    """

    def __init__(self, make, batch_size, size, workers):
        self._make, self._workers = make, min(workers, batch_size)
        self._shape = batch_size, 3, size, size
        self._pipes, self._processes = [], []
        self._lock = threading.Lock()
        self._turn = 0

    def run(self, batches):
        """Yield (images (b, 3, size, size), labels (b,), bad), float32, for each list of keys, in order.

        The arrays are the caller's own. One run at a time: a new one ends those before it.
        """
        if not self._workers:
            for keys in batches:
                images = np.empty((len(keys), *self._shape[1:]), 'float32')
                labels = np.empty(len(keys), 'float32')
                yield images, labels, _fill(self._make, keys, images, labels)
            return
        with self._lock:
            self._turn += 1
            turn = self._turn
            self._begin()
        batches, slots = iter(batches), collections.deque(range(AHEAD))
        under_way = collections.deque()
        while True:
            with self._lock:
                if turn != self._turn:
                    raise RuntimeError('these batches were given up when others were begun')
                while slots:
                    keys = next(batches, None)
                    if keys is None:
                        break
                    slot = slots.popleft()
                    self._send(slot, keys)
                    under_way.append((slot, len(keys)))
                if not under_way:
                    return
                slot, count = under_way.popleft()
                bad, failures = self._receive()
                for kind, text in failures:
                    raise kind(text)
                images, labels = (memory[slot, :count].copy() for memory in self._memory)
                slots.append(slot)
            yield images, labels, bad

    def close(self):
        """End the processes."""
        with self._lock:
            self._turn += 1
            if self._processes:
                self._end()
                self._pipes, self._processes = [], []

    def _begin(self):
        """Start the processes, or wait for what an earlier run has given up."""
        if self._processes:
            while self._replies_due:
                self._receive()
            return
        file, self._memory = _shared_memory(AHEAD, *self._shape)
        self._replies_due = 0
        try:
            for _ in range(self._workers):
                self._start_one(file.fileno())
        except OSError as error:
            _end(self._processes)
            raise DataError('cannot start %d worker processes (%s): ask for fewer with -j'
                            % (self._workers, error.strerror)) from error
        finally:
            file.close()
        self._end = weakref.finalize(self, _end, self._processes)

    def _start_one(self, file):
        ours, theirs = multiprocessing.connection.Pipe()
        with theirs:
            # In a session of their own, out of reach of Ctrl-C: they end when the reader does.
            self._processes.append(subprocess.Popen(
                [sys.executable, '-c', _START, json.dumps(sys.path), str(theirs.fileno()), str(file)],
                env={**MEMORY, **os.environ, **ENVIRONMENT}, pass_fds=(theirs.fileno(), file),
                stdin=subprocess.DEVNULL, start_new_session=True))
        self._pipes.append(ours)
        with self._watched(len(self._pipes) - 1):
            ours.send((self._make, AHEAD, self._shape))

    def _send(self, slot, keys):
        """Give each process its share of a batch."""
        bounds = [len(keys) * k // self._workers for k in range(self._workers + 1)]
        for k, pipe in enumerate(self._pipes):
            with self._watched(k):
                pipe.send((slot, bounds[k], keys[bounds[k]:bounds[k + 1]]))
        self._replies_due += 1

    def _receive(self):
        """Wait for the oldest batch under way; returns (the bad images in it, failures)."""
        bad, failures = [], []
        for k, pipe in enumerate(self._pipes):
            with self._watched(k):
                more, failure = pipe.recv()
            bad += more
            failures += [failure] if failure else []
        self._replies_due -= 1
        return bad, failures

    @contextlib.contextmanager
    def _watched(self, k):
        """The end of process ``k`` as a sentence."""
        try:
            yield
        except (EOFError, OSError):
            process = self._processes[k]
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            code, number, workers = process.returncode, process.pid, self._workers
            self._end()
            self._pipes, self._processes = [], []
            raise DataError(
                'a worker process that reads images (number %d) ended %s: start again, if memory is short '
                'with fewer than %d of them (-j)' % (number, _how(code), workers)) from None


def _how(code):
    if code is not None and code < 0:
        return 'by the signal %s' % signal.Signals(-code).name
    return 'unexpectedly, with exit code %s' % code


def _end(processes):
    """Kill them, as they have nothing to lose."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _shared_memory(slots, batch_size, *shape):
    """A file without a name, and the arrays in it: images (slots, batch, ...) and labels (slots, batch)."""
    size = 4 * slots * batch_size * (int(np.prod(shape)) + 1)
    file = tempfile.TemporaryFile(dir=_memory_folder(size))
    file.truncate(size)
    return file, _arrays(file.fileno(), slots, batch_size, *shape)


def _memory_folder(size):
    """The system's folder for shared memory if it has room, else None: the one for temporary files."""
    with contextlib.suppress(OSError):
        state = os.statvfs('/dev/shm')
        if state.f_bavail * state.f_frsize >= size and os.access('/dev/shm', os.W_OK):
            return '/dev/shm'
    return None


def _arrays(file, slots, batch_size, *shape):
    memory = np.frombuffer(mmap.mmap(file, 0), 'float32')
    images, labels = np.split(memory, [len(memory) - slots * batch_size])
    return images.reshape(slots, batch_size, *shape), labels.reshape(slots, batch_size)


# ------------------------------------------------------------------------------ in a worker

def work(pipe, file):
    """The life of a worker process: shares of batches, until the pipe ends."""
    with contextlib.suppress(EOFError, OSError), multiprocessing.connection.Connection(pipe) as pipe:
        make, slots, shape = pipe.recv()
        images, labels = _arrays(file, slots, *shape)
        os.close(file)
        while True:
            slot, first, keys = pipe.recv()
            pipe.send(_share(make, keys, images[slot, first:], labels[slot, first:]))


def _share(make, keys, images, labels):
    """(bad images, None), or ([], (the kind of error to raise, its text))."""
    try:
        return _fill(make, keys, images, labels), None
    except (DataError, ImportError) as error:
        return [], (type(error), str(error))
    except Exception:
        return [], (RuntimeError, traceback.format_exc())


def _fill(make, keys, images, labels):
    """Make the images of ``keys``; returns (index, reason) of those that could not be read."""
    bad = []
    for place, key in enumerate(keys):
        labels[place], more = make(key, images[place])
        bad += more
    return bad

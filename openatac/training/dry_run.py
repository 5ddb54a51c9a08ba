"""A rehearsal of a run: some batches of every part, what they take, and nothing left behind."""
import contextlib
import itertools
import os
import resource
import tempfile
import time
from typing import NamedTuple

from openatac.data.batches import prefetch
from openatac.errors import OpenatacError
from openatac.training.checkpoint import Checkpoints, writing_in


class Part(NamedTuple):
    """What one part of the rehearsal took.

    memory, gpu_memory : MB in use after it, of this process and of its fullest GPU
    """

    name: str
    batches: int
    images: int
    seconds: float
    memory: float
    gpu_memory: float


def dry_run(plan, batches):
    """Do ``batches`` batches of each part of a `loop.Plan` and print a table; returns its `Part`s.

    Reading, training (its first batch apart, for what is made only once), validating, writing a
    checkpoint to the disk of ``plan.folder``, and going on from it.
    """
    engine, parts = plan.engine, []
    with contextlib.closing(_endless(plan.training)) as source:
        parts.append(_timed(engine, 'read', _read, source, batches))
    with contextlib.closing(prefetch(_endless(plan.training), plan.training.ahead)) as ahead:
        parts.append(_timed(engine, 'first batch', _train, plan, ahead, 1))
        parts.append(_timed(engine, 'train', _train, plan, ahead, max(1, batches // 10)))
        if batches > 1:
            parts.append(_timed(engine, 'train on', _train, plan, ahead, batches - max(1, batches // 10)))
    parts.append(_timed(engine, 'validate', _validate, plan, batches))
    with writing_in(plan.folder), tempfile.TemporaryDirectory(prefix='.dry-run-', dir=plan.folder) as folder:
        checkpoints = Checkpoints(folder)
        parts.append(_timed(engine, 'checkpoint', _save, engine, checkpoints))
        parts.append(_timed(engine, 'resume', _resume, engine, checkpoints))
    if engine.cluster.rank == 0:
        print(table(parts))
        print('Peak memory of the process: %.0f MB. Nothing was kept.'
              % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return parts


def table(parts):
    """The parts as lines of text."""
    form = '%-12s %8s %10s %12s %10s %10s'
    lines = [form % ('part', 'batches', 'seconds', 's per batch', 'images/s', 'memory')]
    for part in parts:
        memory = '%.0f MB' % part.memory + (' + GPU %.0f MB' % part.gpu_memory if part.gpu_memory else '')
        lines.append(form % (
            part.name, part.batches or '', '%.2f' % part.seconds,
            '%.3f' % (part.seconds / part.batches) if part.batches else '',
            '%.1f' % (part.images / part.seconds) if part.images else '', memory))
    return '\n'.join(lines)


def _timed(engine, name, work, *arguments):
    began = time.perf_counter()
    batches, images = work(*arguments)
    engine.wait()
    return Part(name, batches, images, time.perf_counter() - began, _memory(),
                engine.device_memory())


def _endless(training):
    """Batches of the training, over as many epochs as it takes."""
    for epoch in itertools.count():
        yield from training.epoch(epoch)


def _read(source, batches):
    return batches, sum(len(labels) for _, labels in itertools.islice(source, batches))


def _train(plan, source, batches):
    engine, images = plan.engine, 0
    for x, y in itertools.islice(source, batches):
        engine.train_batch(x, y, plan.schedule(engine.iteration))
        images += len(y)
    loss = engine.read_metrics().loss
    if loss != loss:
        raise OpenatacError('the loss became %s within %d batches: use a smaller --lr' % (loss, batches))
    return batches, images


def _validate(plan, batches):
    some = []

    def counted():
        for x, y in itertools.islice(plan.evaluation, batches):
            some.append(len(y))
            yield x, y

    plan.engine.evaluate(prefetch(counted(), plan.evaluation.ahead))
    return len(some), sum(some)


def _save(engine, checkpoints):
    arrays, numbers = engine.state()
    if engine.cluster.rank == 0:
        checkpoints.save(engine.iteration, arrays, {'engine': numbers})
    return 0, 0


def _resume(engine, checkpoints):
    if engine.cluster.rank == 0:
        arrays, state = checkpoints.latest()
        engine.load_state(arrays, state['engine'])
    return 0, 0


def _memory():
    with open('/proc/self/statm') as handle:
        return int(handle.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2 ** 20

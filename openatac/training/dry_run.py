"""A rehearsal of a run: some batches of every part, what they take, and nothing left behind."""
from __future__ import annotations

import contextlib
import itertools
import os
import resource
import tempfile
import time
from collections.abc import Generator, Iterator
from typing import Any, Callable, NamedTuple

from openatac.backends.base import Engine
from openatac.data.batches import prefetch
from openatac.errors import OpenatacError
from openatac.training.checkpoint import Checkpoints, writing_in
from openatac.training.loop import Plan


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


def dry_run(plan: Plan, batches: int) -> list[Part]:
    """Do ``batches`` batches of each part of a `Plan` and print a table; returns its `Part`s.

    Reading, training (its first batch apart, for what is made only once), validating, writing a
    checkpoint to the disk of ``plan.folder``, and going on from it.
    """
    engine = plan.engine
    parts: list[Part] = []
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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f'Peak memory of the process: {peak:.0f} MB. Nothing was kept.')
    return parts


def table(parts: list[Part]) -> str:
    """The parts as lines of text."""
    form = '{:<12} {:>8} {:>10} {:>12} {:>10} {:>10}'.format
    lines = [form('part', 'batches', 'seconds', 's per batch', 'images/s', 'memory')]
    for part in parts:
        gpu = f' + GPU {part.gpu_memory:.0f} MB' if part.gpu_memory else ''
        lines.append(form(
            part.name, part.batches or '', f'{part.seconds:.2f}',
            f'{part.seconds / part.batches:.3f}' if part.batches else '',
            f'{part.images / part.seconds:.1f}' if part.images else '', f'{part.memory:.0f} MB{gpu}'))
    return '\n'.join(lines)


def _timed(engine: Engine, name: str, work: Callable[..., tuple[int, int]], *arguments: Any) -> Part:
    began = time.perf_counter()
    batches, images = work(*arguments)
    engine.wait()
    return Part(name, batches, images, time.perf_counter() - began, _memory(),
                engine.device_memory())


def _endless(training: Any) -> Generator[Any, None, None]:
    """Batches of the training, over as many epochs as it takes."""
    for epoch in itertools.count():
        yield from training.epoch(epoch)


def _read(source: Iterator[Any], batches: int) -> tuple[int, int]:
    return batches, sum(len(labels) for _, labels in itertools.islice(source, batches))


def _train(plan: Plan, source: Iterator[Any], batches: int) -> tuple[int, int]:
    engine, images = plan.engine, 0
    for x, y in itertools.islice(source, batches):
        engine.train_batch(x, y, plan.schedule(engine.iteration))
        images += len(y)
    loss = engine.read_metrics().loss
    if loss != loss:
        raise OpenatacError(f'the loss became {loss} within {batches} batches: use a smaller --lr')
    return batches, images


def _validate(plan: Plan, batches: int) -> tuple[int, int]:
    some: list[int] = []

    def counted() -> Iterator[Any]:
        for x, y in itertools.islice(plan.evaluation, batches):
            some.append(len(y))
            yield x, y

    plan.engine.evaluate(prefetch(counted(), plan.evaluation.ahead))
    return len(some), sum(some)


def _save(engine: Engine, checkpoints: Checkpoints) -> tuple[int, int]:
    arrays, numbers = engine.state()
    if engine.cluster.rank == 0:
        checkpoints.save(engine.iteration, arrays, {'engine': numbers})
    return 0, 0


def _resume(engine: Engine, checkpoints: Checkpoints) -> tuple[int, int]:
    if engine.cluster.rank == 0:
        found = checkpoints.latest()
        assert found is not None
        arrays, state = found
        engine.load_state(arrays, state['engine'])
    return 0, 0


def _memory() -> float:
    with open('/proc/self/statm') as handle:
        return int(handle.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2 ** 20

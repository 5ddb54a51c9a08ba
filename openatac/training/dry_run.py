"""A dry run: measures the time and memory of each part on a few batches, and keeps only the log."""
from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

from openatac.data.batch_source import Batch, TrainingBatchSource
from openatac.data.threads import prefetch
from openatac.errors import OpenatacError
from openatac.system.memory import memory_in_use, peak_memory
from openatac.text import text_table
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import Progress
from openatac.training.loop import LEARNING_RATE, TrainingTask


class MeasuredPart(NamedTuple):
    """The time and memory of one part of the dry run.

    ``memory`` and ``gpu_memory`` are the MB in use after it, by this process (None where the system does not
    report it) and on its fullest GPU.
    """

    name: str
    batches: int
    image_count: int
    seconds: float
    memory: float | None
    gpu_memory: float


def dry_run(task: TrainingTask, batches: int) -> list[MeasuredPart]:
    """Run ``batches`` batches of each part of a `TrainingTask` and print a table; return its `MeasuredPart`s.

    The parts are reading, training (the first batch on its own, with the one-off work, then some to warm up),
    validating, writing a checkpoint to the disk of ``task.folder``, and resuming from it under the same
    settings.
    """
    learner = task.learner
    parts: list[MeasuredPart] = []

    def measure(name: str, work: Callable[..., list[int]], *arguments: Any) -> None:
        began = time.perf_counter()
        sizes = work(task, *arguments)
        learner.wait()
        parts.append(MeasuredPart(name, len(sizes), sum(sizes), time.perf_counter() - began, memory_in_use(),
                                  learner.device_memory()))

    with contextlib.closing(_endless(task.training)) as source:
        measure('read', _read, source, batches)
    with contextlib.closing(prefetch(_endless(task.training), task.training.ahead)) as ahead:
        warm_up = min(batches - 1, max(1, batches // 10))
        measure('first batch', _train, ahead, 1)
        if warm_up:
            measure('warm-up', _train, ahead, warm_up)
        measure('train', _train, ahead, batches - warm_up)
    measure('validate', _validate, batches)
    with checkpoints_of(task.folder).writing(), \
            tempfile.TemporaryDirectory(prefix='.dry-run-', dir=task.folder) as folder:
        measure('checkpoint', _save, folder)
        measure('resume', _resume, folder)
    if learner.process_group.is_writer:
        print(parts_table(parts))
        peak = peak_memory()
        print(f'Peak memory of the process: {peak:.0f} MB. Nothing was kept.' if peak else
              'Nothing was kept.')
    return parts


def parts_table(parts: list[MeasuredPart]) -> str:
    """Format the parts as lines of text."""
    rows = [('part', 'batches', 'seconds', 's per batch', 'images/s', 'memory')]
    for part in parts:
        memory = [f'{part.memory:.0f} MB'] if part.memory else []
        gpu = [f'GPU {part.gpu_memory:.0f} MB'] if part.gpu_memory else []
        rows.append((
            part.name, str(part.batches or ''), f'{part.seconds:.2f}',
            f'{part.seconds / part.batches:.3f}' if part.batches else '',
            f'{part.image_count / part.seconds:.1f}' if part.image_count else '', ' + '.join(memory + gpu)))
    return text_table(rows)


def _endless(training: TrainingBatchSource) -> Generator[Batch, None, None]:
    """Yield training batches, over as many epochs as needed."""
    for epoch in itertools.count():
        yield from training.epoch(epoch)


# ---------------------------------------------- the parts, which return the sizes of their batches

def _read(task: TrainingTask, source: Iterator[Batch], batches: int) -> list[int]:
    return [len(labels) for _, labels in itertools.islice(source, batches)]


def _train(task: TrainingTask, source: Iterator[Batch], batches: int) -> list[int]:
    learner, sizes = task.learner, []
    for x, y in itertools.islice(source, batches):
        learner.train_batch(x, y, task.schedule[LEARNING_RATE](learner.iteration))
        sizes.append(len(y))
    loss = learner.read_metrics().loss
    if not math.isfinite(loss):
        raise OpenatacError(f'the loss became {loss} within {batches} batches: use a smaller --lr')
    return sizes


def _validate(task: TrainingTask, batches: int) -> list[int]:
    sizes: list[int] = []

    def counted() -> Iterator[Batch]:
        for x, y in itertools.islice(task.evaluation, batches):
            sizes.append(len(y))
            yield x, y

    task.learner.evaluate(prefetch(counted(), task.evaluation.ahead))
    return sizes


def _save(task: TrainingTask, folder: str) -> list[int]:
    state = task.learner.state()
    if task.learner.process_group.is_writer:
        Progress().save(folder, task.settings, *state)
    return []


def _resume(task: TrainingTask, folder: str) -> list[int]:
    if task.learner.process_group.is_writer:
        Progress().resume(folder, task.learner, lambda arrays, state: (arrays, state))
    return []

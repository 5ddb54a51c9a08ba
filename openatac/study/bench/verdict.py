"""Name the fastest runtime for each export and batch size, and compare ours with PyTorch's."""
from __future__ import annotations

import operator
import statistics
from collections.abc import Iterator, Sequence

from openatac.export.runtimes.base import RUNTIMES
from openatac.study.bench.measurement import Measurement

_speed = operator.attrgetter('images_per_second')


def verdict(measured: Sequence[Measurement]) -> Iterator[str]:
    """Yield the lines of the verdict, by export and batch size."""
    for key in dict.fromkeys((m.export, m.batch) for m in measured):
        yield from _verdict([m for m in measured if (m.export, m.batch) == key])


def _verdict(measured: Sequence[Measurement]) -> Iterator[str]:
    pytorch = [m for m in measured if RUNTIMES.find(m.runtime).package == 'torch']
    ours = [m for m in measured if m not in pytorch]
    float32 = [m for m in ours if not RUNTIMES.find(m.runtime).form.is_quantized]
    mxnet = [m for m in float32 if RUNTIMES.find(m.runtime).package == 'mxnet']
    yield (f'{measured[0].export}, batch {measured[0].batch}: the fastest is '
           f'{max(measured, key=_speed).runtime}')
    if not pytorch:
        return
    theirs = max(pytorch, key=_speed)
    named = ''
    for kind, candidates in (('ours', ours), ('ours in float32', float32), ('MXNet in float32', mxnet)):
        if candidates and max(candidates, key=_speed).runtime != named:
            best = max(candidates, key=_speed)
            named = best.runtime
            ratios = [turn.images_per_second / other.images_per_second
                      for turn, other in zip(best.turns, theirs.turns)]
            yield (f'  the fastest of {kind}, {named}, is {statistics.median(ratios):.2f} '
                   f'({min(ratios):.2f} to {max(ratios):.2f}) times as fast as the fastest of PyTorch, '
                   f'{theirs.runtime}')

"""Which engine is the fastest, and how the fastest of ours compare with the fastest of PyTorch."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

from openatac.export.runtimes.base import RUNTIMES
from openatac.study.bench.measurement import Measurement


def verdict(measured: Sequence[Measurement]) -> list[str]:
    """Lines on the measurements of one export with one size of batch."""
    def fastest(those: Sequence[Measurement]) -> Measurement:
        return max(those, key=lambda each: each.images_per_second)

    pytorch = [each for each in measured if each.engine.startswith('torch')]
    ours = [each for each in measured if each not in pytorch]
    float32 = [each for each in ours if not RUNTIMES.find(each.engine).form.is_quantized]
    mxnet = [each for each in float32 if RUNTIMES.find(each.engine).form.name != 'onnx']
    lines = [f'{measured[0].export}, batch {measured[0].batch}: the fastest is {fastest(measured).engine}']
    named = ''
    for kind, those in (('ours', ours), ('ours in float32', float32), ('MXNet in float32', mxnet)):
        if pytorch and those and fastest(those).engine != named:
            best, theirs = fastest(those), fastest(pytorch)
            lines.append(f'  the fastest of {kind}, {best.engine}, is {_ratio(best, theirs)} times as fast '
                         f'as the fastest of PyTorch, {theirs.engine}')
            named = best.engine
    return lines


def _ratio(one: Measurement, other: Measurement) -> str:
    """The median over the rounds of the ratio of two speeds, with its range."""
    ratios = [turn.images_per_second / its.images_per_second for turn, its in zip(one.turns, other.turns)]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})'

"""Format an estimate as text: its figures, a line for each assumption, and a warning on the learning rate."""
from __future__ import annotations

from collections.abc import Iterator

from openatac.study.plan.estimate import (
    LARGEST_LINEAR_BATCH,
    PUBLISHED_BATCH,
    PUBLISHED_LR,
    Estimate,
    linear_rate,
)
from openatac.study.plan.step_time import DDP_BUCKET, GB, GBIT, PlannedRun
from openatac.text import counted


def estimate_text(estimate: Estimate) -> str:
    """Return an estimate as text."""
    lines = [*(f'{name:14}{text}' for name, text in _rows(estimate)), '', 'Assumptions:',
             *(f'- {line}' for line in _assumptions(estimate)), *_warning(estimate.run.global_batch)]
    return '\n'.join(lines)


def _rows(estimate: Estimate) -> Iterator[tuple[str, str]]:
    run, step = estimate.run, estimate.step
    exchange = counted(run.servers, 'parameter server') if run.servers else (
        'ring all-reduce' if run.gpus > 1 else 'nothing to exchange')
    yield 'devices', f'{run.gpus} in {counted(run.machines, "machine")}, {exchange}'
    yield 'global batch', f'{run.global_batch:,} images'
    yield 'gradients', f'{run.gradient_bytes / 1e6:.2f} MB ({run.parameters:,} x {run.gradient_type})'
    yield 'step', (f'{1e3 * step.seconds:.1f} ms: {1e3 * step.computing:.1f} computing, '
                   f'{1e3 * step.exposed:.1f} communication, '
                   f'{1e3 * (step.communication - step.exposed):.1f} hidden')
    yield 'speed', f'{estimate.images_per_second:.0f} images/s, efficiency {estimate.efficiency:.3f}'
    yield 'run', f'{estimate.epochs} epochs of {estimate.steps_per_epoch} steps'
    yield 'time', (f'{estimate.hours:.2f} hours ({estimate.training_hours:.2f} training, '
                   f'{estimate.validation_hours:.2f} validation)')
    yield 'device hours', f'{estimate.device_hours:.1f}'
    if estimate.cost is not None:
        yield 'cost', f'{estimate.cost:.2f} in the currency of --price, without server machines'


def _assumptions(estimate: Estimate) -> Iterator[str]:
    run = estimate.run
    yield (f'every device trains at {run.images_per_second:g} images/s with {run.batch_size} images per '
           'step, as measured on one')
    yield (f'every machine reads and augments {estimate.images_per_second / run.machines:.0f} images/s, or '
           'its devices wait')
    yield from _links(run)
    if run.ddp:
        yield (f'gradients are exchanged in buckets of {DDP_BUCKET >> 20} MiB, each once the backward pass '
               'has computed it; all but the last can hide behind the rest of the pass')
    else:
        bound = 'up to the length of that pass' if run.overlap else 'the cautious assumption'
        yield f'{run.overlap:g} of the communication hides behind the backward pass, {bound}'
    yield 'latency, start-up, checkpoints and failures cost nothing'
    yield 'validation is a forward pass at three times the training speed, on all devices'


def _links(run: PlannedRun) -> Iterator[str]:
    if run.servers:
        yield 'each machine pushes the sum of its gradients to the servers and pulls weights at the same time'
        yield 'servers are machines of their own, with links like the others, and share parameters evenly'
    elif run.gpus > 1:
        yield 'ring all-reduce: one ring through all devices, or one inside each machine and one across'
    if run.bandwidth is not None:
        yield (f"a machine's network link carries {run.bandwidth:g} Gbit/s "
               f'({run.bandwidth * GBIT / GB:g} GB/s) each way')
    if run.per_machine > 1:
        speed = (f'at {run.device_bandwidth:g} GB/s each way' if run.device_bandwidth is not None
                 else 'no faster than its network link (--device-bandwidth is not given)')
        yield f'devices of one machine exchange {speed}'


def _warning(global_batch: int) -> list[str]:
    """Return advice on the learning rate; [] for the published batch."""
    if global_batch == PUBLISHED_BATCH:
        return []
    text = (f'Warning: the published rate {PUBLISHED_LR:g} is for {PUBLISHED_BATCH} images per step; for '
            f'{global_batch} the linear rule gives\n--lr {linear_rate(global_batch):.4g}, and the published '
            'errors are not promised.')
    if global_batch > LARGEST_LINEAR_BATCH:
        text += f' Beyond {LARGEST_LINEAR_BATCH} images that rule is known to lose accuracy.'
    return ['', text]

"""Estimate time and cost of the published ImageNet run on more devices, before anyone pays for them.

    openatac plan --gpus 64 --gpus-per-machine 8 --images-per-second 650 --bandwidth 25

One measured number, the training speed of one device, and the bytes of the gradients give the time of a step:
computing, then exchanging gradients by a ring or through parameter servers. Latency is left out, so small
messages take longer than this says; nothing here is fitted to a measurement.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Callable

from openatac.console.program import command_parser
from openatac.limits import number
from openatac.study.estimate import (
    LARGEST_LINEAR_BATCH,
    PUBLISHED_BATCH,
    PUBLISHED_EPOCHS,
    PUBLISHED_LR,
    TRAINING_IMAGES,
    VALIDATION_IMAGES,
    Estimate,
    estimate,
    linear_rate,
    trainable_parameters,
)
from openatac.study.step_time import BYTES, GB, GBIT, Setup


def main(argv: list[str]) -> int:
    """``openatac plan``; see the module."""
    p = _parser()
    args = p.parse_args(argv)
    try:
        if args.parameters is None:
            args.parameters = trainable_parameters(args.model)
        setup = Setup(*[getattr(args, field) for field in Setup._fields])
        found = estimate(setup, args.epochs, args.images, args.validation_images, args.price)
    except ValueError as error:
        p.error(str(error))
    print(report(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    def whole(low: int) -> Callable[[str], int]:
        return number(int, low=low, high=10 ** 12)

    positive = number(float, above=0, high=1e12)
    p = command_parser('plan', __doc__, allow_abbrev=False)
    p.add_argument('--gpus', type=whole(1), required=True, metavar='N', help='total number of devices')
    p.add_argument('--gpus-per-machine', type=whole(1), metavar='M',
                   help='devices in one machine (default: all of them)')
    p.add_argument('--images-per-second', type=positive, required=True, metavar='X',
                   help='measured training speed of one device at --batch-size')
    p.add_argument('--bandwidth', type=positive, metavar='B',
                   help="speed of each machine's network link in each direction, in Gbit/s (bits, not bytes)")
    p.add_argument('--device-bandwidth', type=positive, metavar='B',
                   help='speed between devices of one machine, in GB/s (bytes; default: as --bandwidth)')
    p.add_argument('--batch-size', type=whole(1), default=128, metavar='IMAGES',
                   help='images on one device (default: %(default)s)')
    p.add_argument('--servers', type=whole(0), default=0, metavar='S',
                   help='parameter servers; 0, the default, is a ring all-reduce')
    p.add_argument('--dtype', choices=BYTES, default='float16',
                   help='type of the gradients (default: %(default)s)')
    p.add_argument('--overlap', type=number(float, low=0, high=1), default=0.0, metavar='SHARE',
                   help='how much of the communication hides behind the backward pass, 0 to 1 (default: 0)')
    p.add_argument('--epochs', type=whole(1), default=PUBLISHED_EPOCHS, metavar='N',
                   help='epochs of the run (default: %(default)s)')
    p.add_argument('--images', type=whole(1), default=TRAINING_IMAGES, metavar='N',
                   help='training images (default: %(default)s)')
    p.add_argument('--validation-images', type=whole(0), default=VALIDATION_IMAGES, metavar='N',
                   help='images tested after each epoch (default: %(default)s)')
    p.add_argument('--model', default='resnet50_v1b_atac', metavar='NAME',
                   help='the network whose gradients are exchanged (default: %(default)s)')
    p.add_argument('--parameters', type=whole(1), metavar='COUNT',
                   help='trainable parameters, instead of those of --model; needs no MXNet')
    p.add_argument('--price', type=number(float, low=0, high=1e12), metavar='P',
                   help='price of one device for an hour')
    return p


# -------------------------------------------------------------------------------------- report

def report(found: Estimate) -> str:
    """Return an estimate as text: its figures, a line for each assumption, and a warning on the rate."""
    lines = [*(f'{name:14}{text}' for name, text in _rows(found)), '', 'Assumptions:',
             *(f'- {line}' for line in _assumptions(found)), *_warning(found.setup.global_batch)]
    return '\n'.join(lines)


def _rows(found: Estimate) -> Iterator[tuple[str, str]]:
    setup, one = found.setup, found.step
    exchange = f'{setup.servers} parameter server{_s(setup.servers)}' if setup.servers else (
        'ring all-reduce' if setup.gpus > 1 else 'nothing to exchange')
    yield 'devices', f'{setup.gpus} in {setup.machines} machine{_s(setup.machines)}, {exchange}'
    yield 'global batch', f'{setup.global_batch:,} images'
    yield 'gradients', f'{setup.gradient_bytes / 1e6:.2f} MB ({setup.parameters:,} x {setup.dtype})'
    yield 'step', (f'{1e3 * one.seconds:.1f} ms: {1e3 * one.computing:.1f} computing, '
                   f'{1e3 * one.exposed:.1f} communication, '
                   f'{1e3 * (one.communication - one.exposed):.1f} hidden')
    yield 'speed', f'{found.images_per_second:.0f} images/s, efficiency {found.efficiency:.3f}'
    yield 'run', f'{found.epochs} epochs of {found.steps_per_epoch} steps'
    yield 'time', (f'{found.hours:.2f} hours ({found.training_hours:.2f} training, '
                   f'{found.validation_hours:.2f} validation)')
    yield 'device hours', f'{found.device_hours:.1f}'
    if found.cost is not None:
        yield 'cost', f'{found.cost:.2f} in the currency of --price, without server machines'


def _s(count: int) -> str:
    return '' if count == 1 else 's'


def _assumptions(found: Estimate) -> Iterator[str]:
    setup = found.setup
    yield (f'every device trains at {setup.images_per_second:g} images/s with {setup.batch_size} images a '
           'step, as measured on one')
    yield (f'every machine reads and augments {found.images_per_second / setup.machines:.0f} images/s, or '
           'its devices wait')
    yield from _links(setup)
    bound = 'as far as that is long enough' if setup.overlap else 'the cautious assumption'
    yield f'{setup.overlap:g} of the communication hides behind the backward pass, {bound}'
    yield 'latency, start-up, checkpoints and failures cost nothing'
    yield 'validation is a forward pass at three times the training speed, on all devices'


def _links(setup: Setup) -> Iterator[str]:
    if setup.servers:
        yield 'each machine pushes the sum of its gradients to the servers and pulls weights at the same time'
        yield 'servers are machines of their own, with links like the others, and share parameters evenly'
    elif setup.gpus > 1:
        yield 'ring all-reduce: one ring through all devices, or one inside each machine and one across'
    if setup.bandwidth is not None:
        yield (f"a machine's network link carries {setup.bandwidth:g} Gbit/s "
               f'({setup.bandwidth * GBIT / GB:g} GB/s) each way')
    if setup.per_machine > 1:
        speed = (f'at {setup.device_bandwidth:g} GB/s each way' if setup.device_bandwidth is not None
                 else 'no faster than its network link (--device-bandwidth is not given)')
        yield f'devices of one machine exchange {speed}'


def _warning(global_batch: int) -> list[str]:
    """Return what to do about the learning rate; nothing for the published batch."""
    if global_batch == PUBLISHED_BATCH:
        return []
    text = (f'Warning: the published rate {PUBLISHED_LR:g} is for {PUBLISHED_BATCH} images a step; for '
            f'{global_batch} the linear rule gives\n--lr {linear_rate(global_batch):.4g}, and the published '
            'errors are not promised.')
    if global_batch > LARGEST_LINEAR_BATCH:
        text += f' Beyond {LARGEST_LINEAR_BATCH} images that rule is known to lose accuracy.'
    return ['', text]

"""Estimate time and cost of the published ImageNet run on more devices, before anyone pays for them.

The time of a step follows from one measured number, the training speed of one device, and from the size of
the gradients: computing, then exchanging gradients around a ring, through parameter servers (MXNet) or during
the backward pass (PyTorch). The estimate ignores latency, so small messages take longer than predicted.
Nothing is fitted to a measurement.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable

from openatac.commands.shared.catalogue import command_parser
from openatac.options.flag_types import FRACTION, number
from openatac.study.plan.estimate import PUBLISHED_EPOCHS, estimate, trainable_parameters
from openatac.study.plan.plan_report import estimate_text
from openatac.study.plan.step_time import BYTES, PlannedRun
from openatac.study.published.numbers import IMAGENET_TRAINING_IMAGES, IMAGENET_VALIDATION_IMAGES


def main(argv: list[str]) -> int:
    """Run ``openatac plan``; see the module."""
    args = _parser().parse_args(argv)
    if args.parameters is None:
        args.parameters = trainable_parameters(args.model)
    run = PlannedRun(*[getattr(args, field) for field in PlannedRun._fields])
    print(estimate_text(estimate(run, args.epochs, args.images, args.validation_images, args.price)))
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
    p.add_argument('--batch-size', type=whole(1), metavar='IMAGES',
                   help='images on one device (default: %(default)s)')
    p.add_argument('--servers', type=whole(0), metavar='S',
                   help='parameter servers; 0 is a ring all-reduce (default: %(default)s)')
    p.add_argument('--ddp', action='store_true',
                   help="a ring as in PyTorch's DistributedDataParallel (--engine torch), which exchanges "
                        'gradients while the backward pass is still running')
    p.add_argument('--dtype', choices=BYTES,
                   help="type of the gradients (default: float16, and with --ddp float32, --engine torch's)")
    p.add_argument('--overlap', type=FRACTION, metavar='SHARE',
                   help='share of the communication that overlaps the backward pass, 0 to 1 (default: '
                        f'{PlannedRun._field_defaults["overlap"]:g})')
    p.add_argument('--epochs', type=whole(1), default=PUBLISHED_EPOCHS, metavar='N',
                   help='epochs of the run (default: %(default)s)')
    p.add_argument('--images', type=whole(1), default=IMAGENET_TRAINING_IMAGES, metavar='N',
                   help='training images (default: %(default)s)')
    p.add_argument('--validation-images', type=whole(0), default=IMAGENET_VALIDATION_IMAGES, metavar='N',
                   help='images tested after each epoch (default: %(default)s)')
    p.add_argument('--model', default='resnet50_v1b_atac', metavar='NAME',
                   help='the network whose gradients are exchanged (default: %(default)s)')
    p.add_argument('--parameters', type=whole(1), metavar='COUNT',
                   help='trainable parameters, instead of those of --model; needs no MXNet')
    p.add_argument('--price', type=number(float, low=0, high=1e12), metavar='P',
                   help='price of one device per hour')
    p.set_defaults(**PlannedRun._field_defaults)
    return p

"""Time and cost of the published ImageNet run on more devices, before anyone pays for them.

    openatac plan --gpus 64 --gpus-per-machine 8 --images-per-second 650 --bandwidth 25

One measured number, the training speed of one device, and the bytes of the gradients give the time
of a step: computing, then exchanging gradients by a ring or through parameter servers. Latency is
left out, so small messages cost more than this says; nothing here was fitted to a measurement.
"""
import argparse
from typing import NamedTuple, Optional

from openatac.arguments import number

GBIT = 1e9 / 8  # bytes per second in one Gbit/s: network links are sold in decimal bits,
GB = 1e9        # those between devices in decimal bytes
BYTES = {'float16': 2, 'float32': 4}
FORWARD = 1 / 3  # of a training step's computing; a backward pass does about twice the multiply-adds
PUBLISHED_LR, PUBLISHED_BATCH = 0.075, 256
LARGEST_LINEAR_BATCH = 8192


# ------------------------------------------------------------------------------- the model

def ring_seconds(size, devices, bandwidth):
    """Seconds of a ring all-reduce: 2 (n - 1) / n * size / bandwidth.

    Each of the n devices sends size / n bytes to its neighbour in 2 (n - 1) rounds, while it receives
    as many: Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    J. Parallel Distrib. Comput. 69 (2009).

    size: bytes of the gradients; bandwidth: bytes/s of the slowest hop, in each direction.
    """
    return 2 * (devices - 1) / devices * (size / bandwidth)


def all_reduce_seconds(size, machines, per_machine, link, inside):
    """Seconds of an all-reduce over ``machines`` of ``per_machine`` devices each.

    The faster of two: one ring through all devices, as fast as its slowest hop; or a ring inside every
    machine followed by one across them, with one flow in and one out on each machine's link.

    size: bytes; link, inside: bytes/s of a machine's network link and between its devices.
    """
    levels = ring_seconds(size, per_machine, inside) + ring_seconds(size, machines, link)
    return min(levels, ring_seconds(size, machines * per_machine, min(link, inside)))


def parameter_server_seconds(size, workers, servers, link, server_link=None):
    """Seconds in which workers push gradients to parameter servers and pull the weights.

    Every worker sends and receives ``size`` bytes; every server has an even share of the parameters,
    size / servers, to receive from each worker and to send back: Li et al., "Scaling Distributed Machine
    Learning with the Parameter Server", OSDI 2014. Links are full duplex, and as there are many arrays
    one is pulled while the next is pushed; where that fails it takes up to twice as long.

    link, server_link: bytes/s in each direction of a worker's and of a server's link (default: alike).
    """
    return max(size / link, workers * size / servers / (server_link or link))


class Setup(NamedTuple):
    """What a step depends on, in the units of the flags.

    gpus: devices in all; gpus_per_machine: default all of them.
    images_per_second: measured training speed of one device at ``batch_size`` images.
    parameters: how many are trained, each of which has a gradient of ``dtype``, float16 or float32.
    bandwidth: of each machine's network link in Gbit/s; may be None where nothing crosses a link.
    device_bandwidth: between devices of one machine in GB/s; None: no faster than the link.
    servers: 0 for an all-reduce, else the number of parameter servers, on machines of their own.
    overlap: share of the communication that hides behind the backward pass, 0 to 1.
    """

    gpus: int
    images_per_second: float
    parameters: int
    bandwidth: Optional[float] = None
    device_bandwidth: Optional[float] = None
    gpus_per_machine: Optional[int] = None
    servers: int = 0
    batch_size: int = 128
    dtype: str = 'float16'
    overlap: float = 0.0

    @property
    def per_machine(self):
        """Devices in one machine."""
        return self.gpus_per_machine or self.gpus

    @property
    def machines(self):
        """Machines with devices in them, servers not counted."""
        return self.gpus // self.per_machine

    @property
    def global_batch(self):
        """Images in one step of all devices."""
        return self.gpus * self.batch_size

    @property
    def gradient_bytes(self):
        """Bytes that one device's gradients have.

        (A network cast to float16 keeps BatchNorm's parameters in float32, which adds 0.3 % to those
        of ATAC-ResNet-50 and is left out.)
        """
        return self.parameters * BYTES[self.dtype]


class Step(NamedTuple):
    """Seconds of a training step: computing, communicating in all, and what of the latter is exposed."""

    computing: float
    communication: float
    exposed: float

    @property
    def seconds(self):
        """The whole step."""
        return self.computing + self.exposed


def step(setup):
    """The `Step` of a `Setup`: batch / speed of computing, and the communication that is not hidden.

    No more of it can hide than the backward pass is long, two thirds of the computing.
    Raises ValueError for a setup that makes no sense.
    """
    _check(setup)
    computing = setup.batch_size / setup.images_per_second
    communication = _communication(setup)
    hidden = min(setup.overlap * communication, (1 - FORWARD) * computing)
    return Step(computing, communication, communication - hidden)


def predict(**setup):
    """Seconds per training step, to hold against a measured one; takes the fields of `Setup`.

    Two processes of one device each, on a CPU with one server, over a link measured to carry 8 Gbit/s:

        predict(gpus=2, gpus_per_machine=1, servers=1, bandwidth=8, images_per_second=140, parameters=306858,
                dtype='float32', batch_size=64)
    """
    return step(Setup(**setup)).seconds


def _communication(setup):
    """Seconds; with servers, the devices of each machine first make one sum of their gradients."""
    size = setup.gradient_bytes
    link = float('inf') if setup.bandwidth is None else setup.bandwidth * GBIT
    inside = link if setup.device_bandwidth is None else setup.device_bandwidth * GB
    if not setup.servers:
        return all_reduce_seconds(size, setup.machines, setup.per_machine, link, inside)
    return ring_seconds(size, setup.per_machine, inside) + parameter_server_seconds(
        size, setup.machines, setup.servers, link)


def _check(setup):
    """ValueError, in the words of the command line, for a `Setup` that makes no sense."""
    for name in ('gpus', 'images_per_second', 'parameters', 'bandwidth', 'device_bandwidth', 'batch_size',
                 'gpus_per_machine'):
        value = getattr(setup, name)
        if value is not None and not value > 0:
            raise ValueError('--%s must be above 0, not %s' % (name.replace('_', '-'), value))
    if setup.servers < 0:
        raise ValueError('--servers must be at least 0, not %s' % setup.servers)
    if not 0 <= setup.overlap <= 1:
        raise ValueError('--overlap must be from 0 to 1, not %s' % setup.overlap)
    if setup.dtype not in BYTES:
        raise ValueError('--dtype must be one of %s, not %r' % (', '.join(BYTES), setup.dtype))
    if setup.gpus % setup.per_machine:
        raise ValueError('--gpus %d does not divide into machines of --gpus-per-machine %d: give a multiple'
                         % (setup.gpus, setup.per_machine))
    inside_only = setup.machines == 1 and (setup.gpus == 1 or setup.device_bandwidth is not None)
    if setup.bandwidth is None and (setup.servers or not inside_only):
        raise ValueError('--bandwidth is missing: gradients cross a link here, whose Gbit/s must be given')


# -------------------------------------------------------------------------------- the plan

class Plan(NamedTuple):
    """A run. Hours are of the clock, device_hours of all devices together, servers not counted.

    efficiency: share of the speed that all devices would have without communication.
    images_per_second: in training, of all devices. cost: in the currency of the price, or None.
    """

    setup: Setup
    step: Step
    epochs: int
    steps_per_epoch: int
    training_hours: float
    validation_hours: float
    hours: float
    device_hours: float
    cost: Optional[float]
    efficiency: float
    images_per_second: float


def plan(setup, epochs=160, images=1281167, validation_images=50000, price=None):
    """The `Plan` of a `Setup`; by default the published run's epochs and images.

    An epoch has images // global batch steps, as the published schedule counts them. After each epoch
    ``validation_images`` pass forward through all devices at three times the training speed.
    price: of one device for an hour. Raises ValueError for what makes no sense.
    """
    one = step(setup)
    steps = images // setup.global_batch
    if not steps:
        raise ValueError('--images %d is less than one step takes, %d devices x --batch-size %d'
                         % (images, setup.gpus, setup.batch_size))
    training = epochs * steps * one.seconds / 3600
    validation = epochs * validation_images * FORWARD / (setup.gpus * setup.images_per_second) / 3600
    device_hours = (training + validation) * setup.gpus
    return Plan(setup, one, epochs, steps, training, validation, training + validation, device_hours,
                None if price is None else price * device_hours, one.computing / one.seconds,
                setup.global_batch / one.seconds)


def trainable_parameters(name: str) -> int:
    """How many parameters with a gradient a network of the ImageNet host has, by its zoo name.

    At the published r = 2 and act_layers = 2. Raises ValueError for another name.
    """
    import mxnet as mx

    from openatac.models.zoo import find_model
    from openatac.study.costs.count import costs
    host, settings = find_model(name)
    if host.data != 'imagenet':
        raise ValueError(f'{name} is not a network for ImageNet: name another, or give --parameters')
    net = host.build(**settings)
    net.initialize()
    net.infer_shape(mx.nd.zeros((1,) + host.input_shape))
    return costs(net, host.input_shape).trainable


def linear_rate(global_batch):
    """The learning rate in proportion to the batch: Goyal et al. 2017, arXiv 1706.02677, section 2.1."""
    return PUBLISHED_LR * global_batch / PUBLISHED_BATCH


# ------------------------------------------------------------------------------- the words

def report(made):
    """A `Plan` as text: its figures, its assumptions in a line each, and a warning on the rate."""
    lines = ['%-14s%s' % row for row in _rows(made)] + ['', 'Assumptions:']
    lines += ['- ' + line for line in _assumptions(made)]
    warning = _warning(made.setup.global_batch)
    return '\n'.join(lines + (['', warning] if warning else []))


def _rows(made):
    setup, one = made.setup, made.step
    exchange = '%d parameter server%s' % (setup.servers, _s(setup.servers)) if setup.servers else (
        'ring all-reduce' if setup.gpus > 1 else 'nothing to exchange')
    yield 'devices', '%d in %d machine%s, %s' % (setup.gpus, setup.machines, _s(setup.machines), exchange)
    yield 'global batch', '{:,} images'.format(setup.global_batch)
    yield 'gradients', '%.2f MB (%s x %s)' % (
        setup.gradient_bytes / 1e6, '{:,}'.format(setup.parameters), setup.dtype)
    yield 'step', '%.1f ms: %.1f computing, %.1f communication, %.1f hidden' % tuple(
        1000 * part for part in (one.seconds, one.computing, one.exposed, one.communication - one.exposed))
    yield 'speed', '%.0f images/s, efficiency %.3f' % (made.images_per_second, made.efficiency)
    yield 'run', '%d epochs of %d steps' % (made.epochs, made.steps_per_epoch)
    yield 'time', '%.2f hours (%.2f training, %.2f validation)' % (
        made.hours, made.training_hours, made.validation_hours)
    yield 'device hours', '%.1f' % made.device_hours
    if made.cost is not None:
        yield 'cost', '%.2f in the currency of --price, without server machines' % made.cost


def _s(count):
    return '' if count == 1 else 's'


def _assumptions(made):
    setup = made.setup
    yield 'every device trains at %g images/s with %d images a step, as measured on one' % (
        setup.images_per_second, setup.batch_size)
    yield 'every machine reads and augments %.0f images/s, or its devices wait' % (
        made.images_per_second / setup.machines)
    yield from _links(setup)
    yield '%g of the communication hides behind the backward pass, %s' % (
        setup.overlap, 'as far as that is long enough' if setup.overlap else 'which is the cautious end')
    yield 'latency, start-up, checkpoints and failures cost nothing'
    yield 'validation is a forward pass at three times the training speed, on all devices'


def _links(setup):
    if setup.servers:
        yield 'each machine pushes the sum of its gradients to the servers and pulls weights at the same time'
        yield 'servers are machines of their own, with links like the others, and share parameters evenly'
    elif setup.gpus > 1:
        yield 'ring all-reduce: one ring through all devices, or one inside each machine and one across'
    if setup.bandwidth is not None:
        yield "a machine's network link carries %g Gbit/s (%g GB/s) each way" % (
            setup.bandwidth, setup.bandwidth * GBIT / GB)
    if setup.per_machine > 1:
        yield 'devices of one machine exchange %s' % (
            'at %g GB/s each way' % setup.device_bandwidth if setup.device_bandwidth is not None
            else 'no faster than its network link (--device-bandwidth is not given)')


def _warning(global_batch):
    """What to do about the learning rate, or None for the published batch."""
    if global_batch == PUBLISHED_BATCH:
        return None
    text = ('Warning: the published rate %g is for %d images a step; for %d the linear rule gives\n'
            '--lr %.4g, and the published errors are not promised.' % (
                PUBLISHED_LR, PUBLISHED_BATCH, global_batch, linear_rate(global_batch)))
    if global_batch > LARGEST_LINEAR_BATCH:
        text += ' Beyond %d images that rule is known to lose accuracy.' % LARGEST_LINEAR_BATCH
    return text


def main(argv):
    """``openatac plan``; see the module. Returns the exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    try:
        if args.parameters is None:
            args.parameters = trainable_parameters(args.model)
        setup = Setup(*[getattr(args, field) for field in Setup._fields])
        made = plan(setup, args.epochs, args.images, args.validation_images, args.price)
    except ValueError as error:
        arguments.error(str(error))
    print(report(made))
    return 0


def parser():
    """The command line of ``openatac plan``."""
    def whole(low):
        return number(int, low=low, high=10 ** 12)

    positive = number(float, above=0, high=1e12)
    p = argparse.ArgumentParser(prog='openatac plan', description=__doc__, allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--gpus', type=whole(1), required=True, metavar='N', help='devices in all')
    p.add_argument('--gpus-per-machine', type=whole(1), metavar='M', help='default: all in one machine')
    p.add_argument('--images-per-second', type=positive, required=True, metavar='X',
                   help='measured training speed of one device at --batch-size')
    p.add_argument('--bandwidth', type=positive, metavar='B',
                   help="of each machine's network link in each direction, in Gbit/s (bits, not bytes)")
    p.add_argument('--device-bandwidth', type=positive, metavar='B',
                   help='between devices of one machine, in GB/s (bytes; default: as --bandwidth)')
    p.add_argument('--batch-size', type=whole(1), default=128, metavar='IMAGES',
                   help='of one device (default: %(default)s)')
    p.add_argument('--servers', type=whole(0), default=0, metavar='S',
                   help='parameter servers; 0, the default, is a ring all-reduce')
    p.add_argument('--dtype', choices=BYTES, default='float16',
                   help='of the gradients (default: %(default)s)')
    p.add_argument('--overlap', type=number(float, low=0, high=1), default=0.0, metavar='SHARE',
                   help='how much of the communication hides behind the backward pass, 0 to 1 (default: 0)')
    p.add_argument('--epochs', type=whole(1), default=160, metavar='N', help='default: %(default)s')
    p.add_argument('--images', type=whole(1), default=1281167, metavar='N',
                   help='for training (default: %(default)s)')
    p.add_argument('--validation-images', type=whole(0), default=50000, metavar='N',
                   help='looked at after each epoch (default: %(default)s)')
    p.add_argument('--model', default='resnet50_v1b_atac', metavar='NAME',
                   help='whose gradients (default: %(default)s)')
    p.add_argument('--parameters', type=whole(1), metavar='COUNT',
                   help='trained parameters, in place of those of --model; needs no MXNet')
    p.add_argument('--price', type=number(float, low=0, high=1e12), metavar='P',
                   help='of one device for an hour')
    return p

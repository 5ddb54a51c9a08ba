"""Estimate the time of a training step on several devices: computing, then exchanging gradients.

The time of a step follows from one measured number, the training speed of one device, and from the size of
the gradients. Latency is ignored, so small messages take longer in practice. Nothing here is fitted to a
measurement.

References
----------
P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel
Distrib. Comput. 69 (2009).
M. Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014.
S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 13 (2020).
"""
from __future__ import annotations

import math
from typing import NamedTuple

from openatac.errors import UsageError

GBIT = 1e9 / 8  # bytes: network links are sold in decimal bits,
GB = 1e9        # links between devices in decimal bytes
BYTES = {'float16': 2, 'float32': 4}
DDP_BUCKET = 25 * 2 ** 20  # bytes of the gradients that PyTorch's DistributedDataParallel exchanges at a time
FORWARD = 1 / 3  # of a training step's computing; a backward pass does about twice the multiply-adds


# ------------------------------------------------------------------------------------ exchange

def ring_seconds(size: float, devices: int, bandwidth: float) -> float:
    """Return the seconds of a ring all-reduce: 2 (n - 1) / n * size / bandwidth.

    In each of 2 (n - 1) rounds, each of the n devices sends size / n bytes to one neighbour and receives the
    same number from the other (Patarasuk and Yuan).

    Parameters
    ----------
    size : float
        Bytes of the gradients.
    devices : int
    bandwidth : float
        Bytes/s of the slowest hop, in each direction.
    """
    return 2 * (devices - 1) / devices * (size / bandwidth)


def all_reduce_seconds(size: float, machines: int, per_machine: int, link: float, inside: float) -> float:
    """Return the seconds of an all-reduce over ``machines`` of ``per_machine`` devices each.

    The faster of two: one ring through all devices, as fast as its slowest hop; or a ring inside every
    machine followed by one across them, with one flow in and one out on each machine's link.

    Parameters
    ----------
    size : float
        Bytes of the gradients.
    machines, per_machine : int
    link, inside : float
        Bytes/s of a machine's network link and between its devices.
    """
    levels = ring_seconds(size, per_machine, inside) + ring_seconds(size, machines, link)
    return min(levels, ring_seconds(size, machines * per_machine, min(link, inside)))


def parameter_server_seconds(size: float, workers: int, servers: int, link: float) -> float:
    """Return the seconds that workers take to push gradients to parameter servers and pull the weights.

    Every worker sends and receives ``size`` bytes. Every server receives an even share of the parameters,
    size / servers, from each worker and sends it back (Li et al.). Links are full duplex, and one array is
    pulled while the next is pushed; without this overlap, it takes up to twice as long.

    Parameters
    ----------
    size : float
        Bytes of the gradients.
    workers, servers : int
    link : float
        Bytes/s of the link of each worker and server, in each direction.
    """
    return max(size, workers * size / servers) / link


def ddp_exposed_seconds(size: float, communication: float, backward: float) -> float:
    """Return the seconds of communication after the backward pass in PyTorch's DistributedDataParallel.

    It exchanges the gradients in buckets, one after the other, each as soon as the backward pass has computed
    it (S. Li et al.): the exchange begins when the first bucket is ready, and the last bucket follows after
    the end of the pass. Buckets are assumed to be equal, and computed at a steady pace.

    Parameters
    ----------
    size : float
        Bytes of the gradients.
    communication, backward : float
        Seconds of the whole exchange and of the backward pass.
    """
    buckets = math.ceil(size / DDP_BUCKET)
    return max(communication / buckets, communication - backward * (1 - 1 / buckets))


# ---------------------------------------------------------------------------------------- step

class PlannedRun(NamedTuple):
    """What determines the time of a step of a run, in the units of the flags of ``openatac plan``.

    Attributes
    ----------
    gpus : int
        Total number of devices.
    images_per_second : float
        Measured training speed of one device at ``batch_size`` images.
    parameters : int
        Number of trainable parameters.
    bandwidth : float, optional
        Speed of each machine's network link, in Gbit/s; not needed if nothing crosses a link.
    device_bandwidth : float, optional
        Speed between devices of one machine, in GB/s; by default no faster than the link.
    gpus_per_machine : int, optional
        Devices in one machine; by default all of them.
    servers : int
        Parameter servers, on separate machines; 0 for an all-reduce.
    batch_size : int
        Images on one device.
    dtype : str, optional
        Type of the gradients, 'float16' or 'float32'; by default float32 with ``ddp``, otherwise float16.
    overlap : float
        Share of the communication that overlaps the backward pass, 0 to 1.
    ddp : bool
        Whether it overlaps the backward pass as in PyTorch's DistributedDataParallel.
    """

    gpus: int
    images_per_second: float
    parameters: int
    bandwidth: float | None = None
    device_bandwidth: float | None = None
    gpus_per_machine: int | None = None
    servers: int = 0
    batch_size: int = 128
    dtype: str | None = None
    overlap: float = 0.0
    ddp: bool = False

    @property
    def per_machine(self) -> int:
        """Devices in one machine."""
        return self.gpus_per_machine or self.gpus

    @property
    def machines(self) -> int:
        """Machines with devices, not counting servers."""
        return self.gpus // self.per_machine

    @property
    def global_batch(self) -> int:
        """Images in one step of all devices."""
        return self.gpus * self.batch_size

    @property
    def gradient_type(self) -> str:
        """The type of the gradients."""
        return self.dtype or ('float32' if self.ddp else 'float16')

    @property
    def gradient_bytes(self) -> int:
        """Bytes of one device's gradients.

        A network cast to float16 keeps BatchNorm's parameters in float32, which would add 0.3% for
        ATAC-ResNet-50.
        """
        return self.parameters * BYTES[self.gradient_type]


class Step(NamedTuple):
    """Seconds of a training step: computing, all communication, and the exposed part of the latter."""

    computing: float
    communication: float
    exposed: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.computing + self.exposed


def estimate_step(run: PlannedRun) -> Step:
    """Return the `Step` of a run: computing, batch / speed, and the communication not hidden behind it.

    The backward pass, two thirds of the computing, limits how much can be hidden. Raises UsageError
    for a run that is not possible.
    """
    _check(run)
    computing = run.batch_size / run.images_per_second
    communication = _communication(run)
    backward = (1 - FORWARD) * computing
    if run.ddp:
        return Step(computing, communication,
                    ddp_exposed_seconds(run.gradient_bytes, communication, backward))
    return Step(computing, communication, communication - min(run.overlap * communication, backward))


def _communication(run: PlannedRun) -> float:
    """Return seconds; with servers, the devices of each machine first add up their gradients."""
    size = run.gradient_bytes
    link = float('inf') if run.bandwidth is None else run.bandwidth * GBIT
    inside = link if run.device_bandwidth is None else run.device_bandwidth * GB
    if not run.servers:
        return all_reduce_seconds(size, run.machines, run.per_machine, link, inside)
    return ring_seconds(size, run.per_machine, inside) + parameter_server_seconds(
        size, run.machines, run.servers, link)


def _check(run: PlannedRun) -> None:
    """Raise UsageError, naming the flags, for values that do not fit together."""
    if run.gpus % run.per_machine:
        raise UsageError(f'--gpus {run.gpus} does not divide into machines of --gpus-per-machine '
                         f'{run.per_machine}: give a multiple')
    if run.ddp and (run.servers or run.overlap):
        raise UsageError('--ddp uses no servers and models its own overlap: leave out --servers and '
                         '--overlap')
    inside_only = run.machines == 1 and (run.gpus == 1 or run.device_bandwidth is not None)
    if run.bandwidth is None and (run.servers or not inside_only):
        raise UsageError('--bandwidth is missing: gradients cross a network link here; give its '
                         'speed in Gbit/s')

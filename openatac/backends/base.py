"""The interface between the training loop and the compute backends.

A `Backend` puts a network on its devices and makes batches for it. Its `Learner` trains and evaluates the
network, and is the only part that `openatac.training.loop` sees.
"""
from __future__ import annotations

import abc
from typing import Any

from openatac.backends.compute import Compute
from openatac.backends.learner import Learner, OptimizerSettings
from openatac.backends.objective import ObjectiveSettings
from openatac.backends.process_group import ProcessGroup
from openatac.backends.registered_backends import BACKENDS
from openatac.backends.teacher import Teacher
from openatac.data.batch_source import EvaluationBatchSource, TrainingBatchSource
from openatac.data.small.image_set import ImageSet
from openatac.registry import import_factory
from openatac.zoo.weights.pretrained import Pretrained


class Backend(abc.ABC):
    """A network on the devices of its run.

    The network has no values before `initialize` or `load`, one of which must precede `learner`; both may be
    called again for another learner. `load_teacher` precedes `initialize`: it may draw from the random state
    that `initialize` seeds. Batches can be made at any time.

    Attributes
    ----------
    device_count : int
        The number of devices of this process that share a batch.
    """

    device_count: int = 1

    @abc.abstractmethod
    def training_batches(self, images: ImageSet, batch_size: int, seed: int) -> TrainingBatchSource:
        """Return augmented batches of small images for the learner; see `TrainingSmallImageBatches`.

        Photographs need no such method: `openatac.data.photos` prepares their batches for all backends.

        ``batch_size`` counts the images of all processes.
        """

    @abc.abstractmethod
    def evaluation_batches(self, images: ImageSet, batch_size: int) -> EvaluationBatchSource:
        """Return batches of all images, in order; see `EvaluationSmallImageBatches`."""

    @abc.abstractmethod
    def initialize(self, params: str | Pretrained | None = None) -> None:
        """Initialise the network, from a parameter file or a `Pretrained` if given."""

    @abc.abstractmethod
    def load(self, params: str) -> None:
        """Load the network's values from the file ``params``."""

    @abc.abstractmethod
    def load_teacher(self, teacher: Teacher) -> Any:
        """Load the teacher's network, for the ``objective`` of `learner`."""

    @abc.abstractmethod
    def learner(self, optimizer: OptimizerSettings, objective: ObjectiveSettings, no_wd: bool = False,
                top5: bool = False) -> Learner:
        """Return a learner that trains and evaluates the network with the other processes of its group.

        Parameters
        ----------
        optimizer : OptimizerSettings
        objective : ObjectiveSettings
        no_wd : bool
            Whether to exempt biases, gammas and betas from weight decay.
        top5 : bool
            Whether evaluation also counts top-5 hits.

        Raises
        ------
        RuntimeError
            If the network has no values yet.
        """


def open_backend(net: Any, compute: Compute, image_shape: tuple[int, int, int], seed: int, gpus: str,
                 fall_back: bool, process_group: ProcessGroup | None = None) -> Backend:
    """Open the `Backend` that ``compute.engine`` names, and put the network on its devices.

    Parameters
    ----------
    net : HybridBlock or torch.nn.Module
        Uninitialised in Gluon; with initial values in PyTorch.
    compute : Compute
    image_shape : (C, H, W)
    seed : int
        Seeds the initial values and the randomness within each step.
    gpus : str
        GPU indices, such as '0,1'; '' means the CPU.
    fall_back : bool
        Whether to use the CPU if no GPU is visible.
    process_group : ProcessGroup, optional
        The processes that train together, each on its share of every batch. Default: only this one.

    Raises
    ------
    DeviceError
        If the devices, or the precision, are not available.
    ModuleNotFoundError
        If the backend's library is not installed.
    """
    factory = import_factory(BACKENDS.find(compute.engine).factory)
    backend: Backend = factory(net, compute, image_shape, seed, gpus, fall_back, process_group)
    return backend

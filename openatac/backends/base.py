"""The interface between the training loop and the compute backends.

A `Backend` puts a network on its devices and makes batches for it; its `Learner` trains and evaluates, and is
all that `openatac.training.loop` sees.
"""
from __future__ import annotations

import abc
from typing import Any, NamedTuple

from openatac.backends.cluster import Cluster, SingleProcess
from openatac.backends.compute import Compute
from openatac.backends.learner import Learner
from openatac.backends.registry import BACKENDS
from openatac.registry import import_factory


def decays(parameter: str) -> bool:
    """Return whether a parameter keeps weight decay under ``no_wd``: all but biases, gammas and betas do."""
    return not parameter.endswith(('beta', 'gamma', 'bias'))


class Backend(abc.ABC):
    """A network on the devices of its run.

    Attributes
    ----------
    device_count : int
        How many devices of this process a batch is split over.
    cluster : Cluster
        The processes that train together, each on its share of every batch; set by `open_backend`.
    """

    device_count: int = 1
    cluster: Cluster = SingleProcess()

    @abc.abstractmethod
    def training_batches(self, images: Any, batch_size: int, seed: int) -> Any:
        """Return augmented batches of an `ImageSet`, as the learner takes them; see `TrainingBatches`.

        ``batch_size`` is over all processes.
        """

    @abc.abstractmethod
    def evaluation_batches(self, images: Any, batch_size: int) -> Any:
        """Return all images of an `ImageSet` in order, as the learner takes them; see `EvaluationBatches`."""

    @abc.abstractmethod
    def initialize(self, params: Any = None) -> None:
        """Give the network its initial values, or those of ``params``, a file or a `Pretrained` one.

        A network of PyTorch also takes {name: numpy.ndarray}.
        """

    @abc.abstractmethod
    def load(self, params: str) -> None:
        """Give the network the values of the file ``params``."""

    @abc.abstractmethod
    def load_teacher(self, teacher: Teacher) -> Any:
        """Return the teacher's network, as the ``objective`` of `learner` takes it."""

    @abc.abstractmethod
    def learner(self, optimizer: dict[str, float], objective: dict[str, Any], no_wd: bool = False,
                top5: bool = False) -> Learner:
        """Return the learner that trains and evaluates the network, with the processes of ``cluster``.

        Parameters
        ----------
        optimizer : dict
            {name: value} of NAG's learning_rate, momentum and wd.
        objective : dict
            {name: value} of the parameters of `Objective`.
        no_wd : bool
            Whether biases, gammas and betas have no weight decay.
        top5 : bool
            Whether evaluation counts the five best classes too.
        """


class Teacher(NamedTuple):
    """The teacher of a distillation: its network, its parameter file or None, and its number of classes."""

    network: str
    params: str | None
    classes: int


def open_backend(net: Any, compute: Compute, image_shape: tuple[int, int, int], seed: int, gpus: str,
                 fall_back: bool, cluster: Cluster | None = None) -> Backend:
    """Return the `Backend` that ``compute.engine`` names, with the network on its devices.

    Parameters
    ----------
    net : HybridBlock, torch.nn.Module or str
        A network, Gluon's not initialised, or the path of a symbol file.
    compute : Compute
    image_shape : (C, H, W)
    seed : int
        For the initial values and the randomness within a step.
    gpus : str
        Such as '0,1'; '' is the CPU.
    fall_back : bool
        Whether to use the CPU if no GPU is visible.
    cluster : Cluster, optional
        The processes that train together; by default this one alone.

    Raises
    ------
    DeviceError
        If the devices, or the precision, are not available.
    ModuleNotFoundError
        If the backend's library is not installed.
    """
    factory = import_factory(BACKENDS.find(compute.engine).factory)
    backend: Backend = factory(net, compute, image_shape, seed, gpus, fall_back)
    if cluster is not None:
        backend.cluster = cluster
    return backend

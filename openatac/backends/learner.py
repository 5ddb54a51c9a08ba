"""A network in training, as the training loop sees it; each backend implements a `Learner`."""
from __future__ import annotations

import abc
import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypedDict

from openatac.backends.devices import Devices
from openatac.backends.loss_scale import LossScale
from openatac.backends.objective import Objective
from openatac.backends.process_group import ProcessGroup
from openatac.backends.state_names import optimizer_array, select_optimizer_arrays
from openatac.data.batch_source import Batch
from openatac.files.mxnet_arrays import stored_shape
from openatac.limits import Bounds

Arrays = dict[str, Any]  # {name: numpy.ndarray}; names as in `openatac.backends.state_names`
KeepOutputs = Callable[[Any, Any], None]  # takes outputs (B, classes) and labels (B,), NumPy arrays


class Metrics(NamedTuple):
    """Means over ``image_count`` images: the loss and a metric.

    In training, the metric is the objective's, accuracy or RMSE; in evaluation, it is the accuracy.

    ``top5`` is the share of images whose label is among the five best classes, if counted.
    """

    loss: float
    metric: float
    image_count: int
    top5: float | None = None

    @classmethod
    def of(cls, sums: Sequence[float], image_count: int) -> Metrics:
        """Compute the means from the sums of loss, metric and, if counted, top5."""
        loss, metric, *top5 = (total / max(image_count, 1) for total in sums)
        return cls(loss, metric, image_count, *top5)


def decays(parameter: str) -> bool:
    """Return whether weight decay applies under ``no_wd``, which exempts biases, gammas and betas."""
    return not parameter.endswith(('beta', 'gamma', 'bias'))


class OptimizerSettings(TypedDict):
    """The settings of NAG, as for gluon.Trainer."""

    learning_rate: float
    momentum: float
    wd: float


class _LossScaleNumbers(TypedDict, total=False):
    loss_scale: dict[str, Any]


class LearnerNumbers(_LossScaleNumbers):
    """The numbers in a learner's state; ``loss_scale`` only for float16."""

    iteration: Annotated[int, Bounds(0, 2 ** 60)]
    images: Annotated[int, Bounds(0, 2 ** 60)]


class Learner(abc.ABC):
    """A network in training: steps, evaluation, and the state that makes them repeatable.

    Attributes
    ----------
    objective : Objective
        The training objective; its metric is measured besides the loss.
    process_group : ProcessGroup
        The processes that train together.
    seed : int
        The seed of the randomness within a step (dropout, mixup), which also depends on the iteration.
    iteration : int
        Optimizer steps since the run began.
    image_count : int
        Images that this process has trained on since `reset_metrics`.
    loss_scale : LossScale or None
        For float16.
    """

    objective: Objective
    process_group: ProcessGroup
    seed: int
    iteration: int
    image_count: int
    loss_scale: LossScale | None = None

    # ------------------------------------------------------- what a backend must implement

    @property
    @abc.abstractmethod
    def devices(self) -> Devices:
        """The devices of all processes."""

    @property
    @abc.abstractmethod
    def versions(self) -> dict[str, str]:
        """{name: version} of the compute libraries."""

    @abc.abstractmethod
    def train_batch(self, images: Any, labels: Any, learning_rate: float) -> None:
        """Take one optimizer step at ``learning_rate``, without waiting for it to finish.

        Parameters
        ----------
        images, labels : array
            (B, C, H, W) and (B,), in NumPy or whatever the backend's own batches hold.
        learning_rate : float
        """

    @abc.abstractmethod
    def read_metrics(self) -> Metrics:
        """Return the means over this process's images since `reset_metrics`; wait for the device."""

    @abc.abstractmethod
    def reset_metrics(self) -> None:
        """Reset the means."""

    @abc.abstractmethod
    def evaluate(self, batches: Iterable[Batch], keep: KeepOutputs | None = None) -> Metrics:
        """Return the means over all ``batches`` of (images, labels), taken over all processes together.

        The metric is the accuracy, whatever the objective: the loop chooses the best epoch by it.

        ``keep``, if given, is called with the outputs and labels of each batch of this process.
        """

    @abc.abstractmethod
    def state(self) -> tuple[Arrays, LearnerNumbers]:
        """Return all arrays and numbers that the next steps depend on.

        Each process must call this; all receive the same state.
        """

    @abc.abstractmethod
    def load_state(self, arrays: Arrays, numbers: LearnerNumbers) -> None:
        """Restore what `state` returned."""

    @abc.abstractmethod
    def optimizer_states(self) -> Arrays:
        """Return the optimizer's arrays, in the form that `load_optimizer_states` takes."""

    @abc.abstractmethod
    def load_optimizer_states(self, saved: Arrays) -> None:
        """Restore arrays from `optimizer_states` of either backend's learner.

        Raises
        ------
        KeyError, ValueError
            If they belong to other parameters; then nothing is changed.
        """

    @abc.abstractmethod
    def save_parameters(self, path: str) -> None:
        """Write the parameters to ``path`` under their structural names, atomically.

        Raises
        ------
        OSError
            If they cannot be written.
        """

    @abc.abstractmethod
    def checksum(self) -> int:
        """Return a checksum of the current values of the trained parameters."""

    @abc.abstractmethod
    def wait(self) -> None:
        """Wait until the devices have finished all pending work."""

    @abc.abstractmethod
    def device_memory(self) -> float:
        """Return the MB in use on the fullest GPU, or 0 without a GPU."""

    # ------------------------------------------------- what it may replace for several processes

    def read_all_metrics(self) -> Metrics:
        """Return the means over the images of all processes; each process must call this.

        By default there is only this process.
        """
        return self.read_metrics()

    @contextlib.contextmanager
    def mean_statistics(self) -> Iterator[None]:
        """Within this context, give all devices of all processes the mean of their running statistics.

        Evaluation and saving then see a single network. Each process must enter this context.
        """
        yield

    # ----------------------------------------------------------------- helpers for a backend

    def _step_seed(self) -> int:
        """Return the seed of the next step's randomness."""
        return (self.seed * 1000003 + self.iteration) % 2 ** 31

    def _over_all_processes(self, totals: Sequence[float], count: int) -> Metrics:
        """Combine this process's sums over its ``count`` images with the other processes' into metrics."""
        everyone = self.process_group.gather([count, *totals], 'the metrics')
        count, *totals = [sum(numbers) for numbers in zip(*everyone)]
        return Metrics.of(totals, count)

    def _with_common_state(self, arrays: Arrays) -> tuple[Arrays, LearnerNumbers]:
        """Return what `state` returns: a backend's own ``arrays`` plus the state that all backends share."""
        arrays.update((optimizer_array(name), array) for name, array in self.optimizer_states().items())
        numbers: LearnerNumbers = {'iteration': self.iteration, 'images': self.image_count}
        if self.loss_scale is not None:
            numbers['loss_scale'] = self.loss_scale.state()
        return arrays, numbers

    def _load_common_state(self, arrays: Arrays, numbers: LearnerNumbers) -> None:
        """Restore what `_with_common_state` added."""
        self.load_optimizer_states(select_optimizer_arrays(arrays))
        self.iteration = numbers['iteration']
        self.image_count = numbers['images']
        if self.loss_scale is not None:
            self.loss_scale.load_state(numbers['loss_scale'])


def check_shapes(saved: Arrays, arrays: Mapping[str, Any]) -> None:
    """Raise KeyError or ValueError unless ``saved`` has the names and shapes of ``arrays``, as in a file."""
    for name, array in arrays.items():
        if stored_shape(saved[name].shape) != stored_shape(array.shape):
            raise ValueError(f'{name} has shape {saved[name].shape} and should have {tuple(array.shape)}')


def crc32_of(arrays: Iterable[Any]) -> int:
    """Return the CRC-32 of the concatenated NumPy arrays."""
    total = 0
    for array in arrays:
        total = zlib.crc32(array, total)
    return total

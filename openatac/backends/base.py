"""What trains and evaluates a network, as `openatac.training.loop` sees it.

`GluonEngine` (openatac.backends.mxnet.engine) computes with MXNet, `TorchEngine` with PyTorch. The loop does
not know which one it drives.
"""
import abc
import contextlib
from typing import NamedTuple, Optional


class Metrics(NamedTuple):
    """Means over ``images`` images."""

    loss: float
    accuracy: float
    images: int
    top5: Optional[float] = None


class Engine(abc.ABC):
    """A network on its devices: training steps, evaluation, and the state that makes them repeatable.

    objective : what a batch teaches; its ``metric`` names what is measured beside the loss
    cluster : the processes that train together (`openatac.distributed.workers`)
    iteration : int; optimizer steps since the run began
    images : int; images of this process since `reset_metrics`
    devices : str, such as '2 x gpu' or '1 x cpu'
    versions : {name: version} of the libraries that compute
    """

    @abc.abstractmethod
    def train_batch(self, images, labels, rate):
        """One optimizer step at the learning rate ``rate``. Does not wait for its end.

        images, labels : (B, C, H, W) and (B,); NumPy arrays, or what the engine's own batches are
        """

    @abc.abstractmethod
    def read_metrics(self):
        """`Metrics` of this process's images since `reset_metrics`; waits for the device."""

    def read_all_metrics(self):
        """The same over all processes, each of which must call it."""
        return self.read_metrics()

    @abc.abstractmethod
    def reset_metrics(self):
        """Start the means anew."""

    @abc.abstractmethod
    def evaluate(self, batches):
        """`Metrics` over all ``batches`` of (images, labels), those of all processes together."""

    @abc.abstractmethod
    def state(self):
        """({name: numpy.ndarray}, {name: number}): all that the next steps depend on.

        Each process must call it; all get the same.
        """

    @abc.abstractmethod
    def load_state(self, arrays, numbers):
        """Go back to what `state` returned."""

    @abc.abstractmethod
    def optimizer_states(self):
        """{name: numpy.ndarray}: what the optimizer remembers, as `load_optimizer_states` takes it."""

    @abc.abstractmethod
    def load_optimizer_states(self, saved):
        """Go back to what `optimizer_states` returned; KeyError if it is of other parameters."""

    @abc.abstractmethod
    def save_parameters(self, path):
        """Write the parameters to ``path`` under their structural names, whole or not at all.

        Raises OSError if it cannot be written.
        """

    @contextlib.contextmanager
    def mean_statistics(self):
        """While open, all devices of all processes have the mean of their running statistics."""
        yield

    @abc.abstractmethod
    def wait(self):
        """Wait for all that the devices still have to do."""

    @abc.abstractmethod
    def device_memory(self):
        """MB in use on the fullest GPU, 0 without one."""

"""One interface to Gluon and PyTorch, for operations that the two libraries spell differently.

A network that could use either library uses Gluon where MXNet is installed, and PyTorch elsewhere.
"""
from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from openatac.errors import last_line
from openatac.graph.nodes import INPUT
from openatac.registry import LibraryName
from openatac.system.installed import has_mxnet, has_torch, require_mxnet
from openatac.zoo.hosts import Host

ImageShape = tuple[int, int, int]  # (C, H, W)
NetworkFunction = Callable[[np.ndarray], np.ndarray]  # from images (B, C, H, W) to outputs (B, N)


class ImageSizeError(ValueError):
    """A network does not take images of this size."""


class Library(abc.ABC):
    """The interface for building, loading and querying networks in either library.

    It does not train them: that is the task of `openatac.backends.base.Backend`.
    """

    name: LibraryName

    @abc.abstractmethod
    def group_norm(self) -> type:
        """Return the layer that --use-gn takes in place of BatchNorm."""

    def normalisation(self, use_gn: bool) -> dict[str, Any]:
        """Return a host's arguments for its normalisation: none for its own, BatchNorm."""
        return {'norm_layer': self.group_norm()} if use_gn else {}

    @abc.abstractmethod
    def build(self, host: Host, settings: dict[str, Any], image_shape: ImageShape, seed: int) -> Any:
        """Build a network to be trained; ImageSizeError if it does not take images of this shape.

        A Gluon network is not initialised. A PyTorch network has initial values drawn from ``seed``.
        """

    @abc.abstractmethod
    def load_parameters(self, net: Any, path: str) -> None:
        """Load the values of a network from a file in any of our formats."""

    @abc.abstractmethod
    def gluon_names(self, net: Any) -> dict[str, str]:
        """Return {structural name: name in Gluon's prefixed files} of a network's values."""

    @abc.abstractmethod
    def count_outputs(self, net: Any, image_shape: ImageShape) -> int:
        """Return how many outputs a network has, by running it in evaluation mode, in which it stays.

        Raises ImageSizeError as `build` does. Weights in PyTorch that depend on the image's size are drawn
        here.
        """

    @abc.abstractmethod
    def function(self, net: Any) -> NetworkFunction:
        """Return a function that runs a network in evaluation mode, on the device of its values."""

    @abc.abstractmethod
    def freeze(self, net: Any, patterns: str) -> None:
        """Exclude parameters from training; see `openatac.models.fine_tuning.freeze`."""

    @abc.abstractmethod
    def scale_head_rate(self, net: Any, head: str, factor: float) -> None:
        """Scale the last layer's learning rate; see `openatac.models.fine_tuning.scale_head_rate`."""

    @abc.abstractmethod
    def print_layers(self, net: Any, image_shape: ImageShape) -> None:
        """Print the layers of a network that need not be initialised."""


class _Gluon(Library):
    name = 'gluon'

    def group_norm(self) -> type:
        from openatac.nn.group_norm import GroupNorm
        return GroupNorm

    def build(self, host: Host, settings: dict[str, Any], image_shape: ImageShape, seed: int) -> Any:
        net = host.gluon(**settings)
        if image_shape != host.input_shape:
            self.count_outputs(net, image_shape)
            for parameter in net.collect_params().values():
                # Forget the cached symbol: it holds the rate's factor, which fine-tuning may change.
                parameter._var = None
        return net

    def load_parameters(self, net: Any, path: str) -> None:
        from openatac.models.weights import load_parameters
        load_parameters(net, path)

    def gluon_names(self, net: Any) -> dict[str, str]:
        from openatac.models.weights import gluon_names
        return gluon_names(net)

    def count_outputs(self, net: Any, image_shape: ImageShape) -> int:
        import mxnet as mx
        try:
            _, ((_, outputs),), _ = net(mx.sym.var(INPUT)).infer_shape(**{INPUT: (1, *image_shape)})
        except mx.MXNetError as error:
            raise ImageSizeError(last_line(error)) from None
        return outputs  # type: ignore[no-any-return]

    def function(self, net: Any) -> NetworkFunction:
        import mxnet as mx

        from openatac.models.weights import context_of
        context = context_of(net)
        return lambda images: net(mx.nd.array(images, context)).asnumpy()

    def freeze(self, net: Any, patterns: str) -> None:
        from openatac.models.fine_tuning import freeze
        freeze(net, patterns)

    def scale_head_rate(self, net: Any, head: str, factor: float) -> None:
        from openatac.models.fine_tuning import scale_head_rate
        scale_head_rate(net, head, factor)

    def print_layers(self, net: Any, image_shape: ImageShape) -> None:
        import mxnet as mx
        net.initialize()
        net.summary(mx.nd.zeros((1, *image_shape)))


class _PyTorch(Library):
    name = 'torch'

    def group_norm(self) -> type:
        from openatac.pytorch.nn.normalisation import GroupNorm
        return GroupNorm

    def build(self, host: Host, settings: dict[str, Any], image_shape: ImageShape, seed: int) -> Any:
        """Build a network whose BatchNorms keep running statistics as MXNet does."""
        import torch

        from openatac.pytorch.nn.normalisation import use_biased_variance
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            net = use_biased_variance(host.torch(**settings))
            self.count_outputs(net, image_shape)  # some units draw weights as large as the image
        return net.train()

    def load_parameters(self, net: Any, path: str) -> None:
        from openatac.pytorch.weights import load_parameters
        load_parameters(net, path)

    def gluon_names(self, net: Any) -> dict[str, str]:
        from openatac.pytorch.gluon_names import gluon_names
        return gluon_names(net)

    def count_outputs(self, net: Any, image_shape: ImageShape) -> int:
        import torch
        try:
            with torch.no_grad():
                return int(net.eval()(torch.zeros(1, *image_shape)).shape[1])
        except (RuntimeError, ValueError) as error:
            raise ImageSizeError(last_line(error)) from None

    def function(self, net: Any) -> NetworkFunction:
        import torch

        from openatac.pytorch.inference import numpy_function
        device = next((str(value.device) for value in net.state_dict().values()), 'cpu')
        return numpy_function(net.eval(), device, torch.contiguous_format)

    def freeze(self, net: Any, patterns: str) -> None:
        from openatac.pytorch.fine_tuning import freeze
        freeze(net, patterns)

    def scale_head_rate(self, net: Any, head: str, factor: float) -> None:
        from openatac.pytorch.fine_tuning import scale_head_rate
        scale_head_rate(net, head, factor)

    def print_layers(self, net: Any, image_shape: ImageShape) -> None:
        print(net)


GLUON, PYTORCH = _Gluon(), _PyTorch()


def installed_library() -> Library:
    """Return Gluon, or PyTorch where MXNet is missing; ModuleNotFoundError if both are missing."""
    if has_mxnet() or not has_torch():
        require_mxnet()
        return GLUON
    return PYTORCH


def library_of(net: Any) -> Library:
    """Return the library of a network."""
    return PYTORCH if hasattr(net, 'state_dict') else GLUON

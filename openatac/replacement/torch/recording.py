"""Record which module calls which activation on which input, in a forward pass of one random image."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from openatac.errors import last_line
from openatac.replacement.torch.known_activations import FUNCTIONS, is_activation, is_activation_or_gate


class Call(NamedTuple):
    """A call of an activation: the module, and its input's channels, or None if it is not a feature map."""

    activation: nn.Module
    channels: int | None


class Recording(TorchFunctionMode):
    """Records the forward passes within its context.

    Attributes
    ----------
    forwards : dict
        {module: [activation calls in its first forward, ...]}, by the calling module.
    functions : dict
        {module: names of the functional activations that its forward calls on feature maps}.
    called : set
        The modules that ran, without the parts of activations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forwards: dict[nn.Module, list[list[Call]]] = defaultdict(list)
        self.functions: dict[nn.Module, list[str]] = defaultdict(list)
        self.called: set[nn.Module] = set()
        self._running: list[nn.Module] = []
        self._of_linear: dict[int, Tensor] = {}  # outputs (B, H, W, C), kept to prevent the reuse of ids

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Record the start of a module's forward, as a forward pre-hook."""
        if not self._within_activation():
            self.called.add(module)
            if self._running and is_activation(module):
                self.forwards[self._running[-1]][-1].append(Call(module, self._channels(inputs)))
            else:
                self.forwards[module].append([])
        self._running.append(module)

    def leave(self, *_: Any) -> None:
        """Record the end of the current module's forward, as a forward hook."""
        self._running.pop()

    def _within_activation(self) -> bool:
        return any(is_activation_or_gate(module) for module in self._running)

    def _channels(self, inputs: tuple[Any, ...]) -> int | None:
        """Return the channels if the first input is a feature map of more than one pixel, else None."""
        x = inputs[0] if inputs else None
        if not isinstance(x, Tensor) or x.dim() != 4 or id(x) in self._of_linear:
            return None
        return x.shape[1] if x.shape[2] * x.shape[3] > 1 else None

    def __torch_function__(self, function: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(function, '__name__', '').rstrip('_')
        if name in FUNCTIONS and not self._within_activation() and self._channels(args):
            self.functions[self._running[-1]].append(name)
        result = function(*args, **(kwargs or {}))
        if name == 'linear':
            self._of_linear[id(result)] = result
        return result


def record_forward(net: nn.Module, image_shape: Sequence[int]) -> Recording:
    """Record the forward pass of one random image, in evaluation mode, without changing the network.

    Raises
    ------
    ValueError
        If the network cannot run on the image.
    """
    recording = Recording()
    modules = [*net.modules()]
    training = {module: module.training for module in modules}
    handles = [handle for module in modules for handle in (
        module.register_forward_pre_hook(recording.enter), module.register_forward_hook(recording.leave))]
    try:
        with torch.no_grad(), recording:
            net.eval()(_image(net, image_shape))
    except Exception as error:  # of any kind, from the user's code
        raise ValueError(f'{type(net).__name__} cannot run on an image of image_shape '
                         f'{tuple(image_shape)!r}: {last_line(error)}') from error
    finally:
        for handle in handles:
            handle.remove()
        for module in modules:
            module.training = training[module]
    return recording


def _image(net: nn.Module, shape: Sequence[int]) -> Tensor:
    """Make an image on the network's device and in its precision."""
    floats = (tensor for tensor in net.state_dict().values() if tensor.is_floating_point())
    generator = torch.Generator().manual_seed(0)  # does not change the state of the global one
    return torch.randn(1, *shape, generator=generator).to(next(floats, torch.zeros(1)))

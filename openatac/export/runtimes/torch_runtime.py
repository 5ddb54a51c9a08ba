"""Runtimes that run the symbol form as a PyTorch module."""
from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar

import numpy as np

from openatac.export.forms.symbol_form import SymbolForm
from openatac.export.runtimes.base import CPU, Runtime
from openatac.library import NetworkFunction
from openatac.system.installed import NO_PYTORCH
from openatac.system.threads import thread_count


def has_torch_device(device: str) -> bool:
    """Return whether PyTorch can use the device."""
    import torch
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):  # the latter if PyTorch is a CPU build
        return False
    return True


class Torch(Runtime):
    """Runs the module eagerly."""

    name = 'torch'
    form = SymbolForm()
    package = 'torch'
    no_package = NO_PYTORCH
    memory_format = 'contiguous_format'
    _function: NetworkFunction

    @classmethod
    def has_device(cls, device: str) -> bool:
        return device == CPU or has_torch_device(device)

    def load(self) -> None:
        import torch

        from openatac.conversion.networks import to_torch
        from openatac.pytorch.inference import numpy_function
        torch.set_num_threads(thread_count().threads)
        layout = getattr(torch, self.memory_format)
        net: Any = to_torch(self.form.files(self.prefix)[0]).float().eval()
        net = self._prepared(net.to(self.device, memory_format=layout))
        self._function = numpy_function(net, self.device, layout)

    def _prepared(self, net: Any) -> Any:
        return net

    def run(self, images: np.ndarray) -> np.ndarray:
        return self._function(images)


class TorchChannelsLast(Torch):
    """Runs the module eagerly with a pixel's channels adjacent in memory, which suits some convolutions."""

    name = 'torch-channels-last'
    memory_format = 'channels_last'


class TorchCompiled(Torch):
    """Compiles the module for the exact batch sizes; the first batch of each size is slow."""

    name = 'torch-compiled'
    options: ClassVar[dict[str, Any]] = {}

    @classmethod
    def obstacle(cls, prefix: str) -> str | None:
        obstacle = super().obstacle(prefix)
        if obstacle is None and not any(map(shutil.which, (os.environ.get('CXX', ''), 'g++', 'clang++'))):
            return 'torch.compile needs a C++ compiler: install g++, or name yours in the variable CXX'
        return obstacle

    def _prepared(self, net: Any) -> Any:
        import torch
        return torch.compile(net, dynamic=False, options=self.options)


class TorchFrozen(TorchCompiled):
    """Compiles the module with constant weights: BatchNorms folded, weights laid out in advance."""

    name = 'torch-frozen'
    options: ClassVar = {'freezing': True}

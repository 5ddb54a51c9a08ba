"""The backends by name, and the options of a run that say which one computes it, and how."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional

from openatac.arguments import POSITIVE
from openatac.options import Section, option
from openatac.registry import Registry

# Factories of a `Backend` (openatac.backends.base), or where they are: only the chosen one's library loads.
BACKENDS: Registry[Any] = Registry('backend', hyphens=True)
BACKENDS.register('mxnet', 'openatac.backends.mxnet.backend:MxnetBackend')
BACKENDS.register('torch', 'openatac.backends.torch.backend:TorchBackend')


@dataclass(frozen=True)
class Compute(Section, title='engine'):
    """The backend, and how it computes."""

    engine: str = option(
        'mxnet', 'the compute library: torch runs the same graph in PyTorch, even on GPUs that MXNet '
        'has no code for',
        choices=lambda: sorted(BACKENDS), result=True, added=True)
    dtype: Literal['float32', 'float16', 'bfloat16'] = option(
        'float32', 'type of the activations', result=True)
    mode: Literal['hybrid', 'imperative'] = option(
        'hybrid', 'whether MXNet runs the network as one graph', result=True)
    tf32: bool = option(False, 'torch: multiply in TF32, faster and less exact', result=True, added=True)
    compile: bool = option(
        False, 'torch: fuse operators with torch.compile, and on GPUs use CUDA graphs', result=True,
        added=True)


@dataclass(frozen=True)
class ImagenetCompute(Compute):
    """`Compute` with the loss scale of float16."""

    loss_scale: Optional[float] = option(
        None, 'initial loss scale for float16; it adapts', parse=POSITIVE, shown='1024',
        result=True)

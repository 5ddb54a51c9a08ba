"""The options of a run that say which backend computes it, and how."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from openatac.backends.registry import BACKENDS
from openatac.limits import POSITIVE
from openatac.options import Section, option

INITIAL_LOSS_SCALE = 1024.0  # by default


@dataclass(frozen=True)
class Compute(Section, title='engine'):
    """The backend, and how it computes."""

    engine: str = option(
        'mxnet', 'the compute library: torch runs the same network in PyTorch, even on GPUs that MXNet '
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
    syncbn: bool = option(
        False, 'BatchNorm over the images of all GPUs; with MXNet, only of one machine and in train-imagenet',
        result=True, added=True)


@dataclass(frozen=True)
class ImagenetCompute(Compute):
    """`Compute` with the loss scale of float16."""

    loss_scale: Optional[float] = option(
        None, 'initial loss scale for float16; it adapts', parse=POSITIVE,
        shown=f'{INITIAL_LOSS_SCALE:g}', result=True)

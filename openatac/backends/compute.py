"""The options of a run that say which backend computes it, and how."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, Optional

from openatac.backends.registry import BACKENDS
from openatac.flag_types import POSITIVE
from openatac.options import Section, option

INITIAL_LOSS_SCALE = 1024.0  # by default

compute_option = functools.partial(option, result=True, exchangeable=True, minor=True)


@dataclass(frozen=True)
class Compute(Section, title='engine'):
    """The backend, and how it computes."""

    engine: str = compute_option(
        'mxnet', 'the compute library: torch runs the same network in PyTorch, even on GPUs that MXNet '
        'has no code for',
        choices=lambda: sorted(BACKENDS), added=True)
    dtype: Literal['float32', 'float16', 'bfloat16'] = compute_option('float32', 'type of the activations')
    mode: Literal['hybrid', 'imperative'] = compute_option(
        'hybrid', 'whether MXNet runs the network as one graph')
    tf32: bool = compute_option(False, 'torch: multiply in TF32, faster and less exact', added=True)
    compile: bool = compute_option(
        False, 'torch: fuse operators with torch.compile, and on GPUs use CUDA graphs', added=True)
    syncbn: bool = compute_option(
        False, 'BatchNorm over the images of all GPUs; with MXNet, only of one machine and in train-imagenet',
        added=True)

    @property
    def first_loss_scale(self) -> float:
        """The loss scale that float16 starts with."""
        return INITIAL_LOSS_SCALE


@dataclass(frozen=True)
class ImagenetCompute(Compute):
    """`Compute` with the loss scale of float16."""

    loss_scale: Optional[float] = compute_option(
        None, 'initial loss scale for float16; it adapts', parse=POSITIVE,
        shown=f'{INITIAL_LOSS_SCALE:g}')

    @property
    def first_loss_scale(self) -> float:
        return self.loss_scale or INITIAL_LOSS_SCALE

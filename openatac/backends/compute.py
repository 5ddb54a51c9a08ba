"""The options that choose a run's backend and how it computes."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from openatac.backends.registered_backends import BACKENDS
from openatac.options.declaration import Role, Section, option_with
from openatac.options.flag_types import POSITIVE
from openatac.registry import LibraryName

INITIAL_LOSS_SCALE = 1024.0  # by default

compute_option = option_with(Role.RESULT | Role.INEXACTLY_CHANGEABLE | Role.MINOR)


@dataclass(frozen=True)
class Compute(Section, title='engine'):
    """The backend and its settings."""

    engine: str = compute_option(
        'mxnet', 'the compute library; torch runs the same network in PyTorch, also on GPUs that MXNet '
        'does not support',
        choices=lambda: sorted(BACKENDS), roles=Role.NOT_OF_MXNET)
    dtype: Literal['float32', 'float16', 'bfloat16'] = compute_option('float32', 'type of the activations')
    mode: Literal['hybrid', 'imperative'] = compute_option(
        'hybrid', 'whether MXNet runs the network as one graph (hybrid) or operator by operator')
    tf32: bool = compute_option(
        False, 'torch: multiply in TF32, which is faster but less exact',
        roles=Role.NOT_OF_MXNET)
    compile: bool = compute_option(
        False, 'torch: fuse operators with torch.compile, and on GPUs use CUDA graphs',
        roles=Role.NOT_OF_MXNET)
    syncbn: bool = compute_option(
        False, 'BatchNorm over the images of all GPUs; with MXNet, only on one machine and in train-imagenet')

    @property
    def library(self) -> LibraryName:
        """The library whose networks the backend trains; see `register_backend`."""
        return BACKENDS.find(self.engine).library

    @property
    def first_loss_scale(self) -> float:
        """The loss scale that float16 starts with."""
        return INITIAL_LOSS_SCALE


@dataclass(frozen=True)
class ImagenetCompute(Compute):
    """`Compute` with an initial loss scale for float16."""

    loss_scale: Optional[float] = compute_option(
        None, 'initial loss scale for float16, adapted during training', parse=POSITIVE,
        default_text=f'{INITIAL_LOSS_SCALE:g}')

    @property
    def first_loss_scale(self) -> float:
        return self.loss_scale or INITIAL_LOSS_SCALE

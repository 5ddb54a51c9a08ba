"""Reject options that MXNet or PyTorch does not support, before either is loaded."""
from __future__ import annotations

from typing import Protocol, Union

from openatac.backends.compute import Compute, ImagenetCompute
from openatac.backends.devices import parse_gpus
from openatac.backends.kvstore_names import SINGLE_PROCESS_STORE
from openatac.errors import FlagError
from openatac.options.command_line import flag_of


class _Training(Protocol):
    @property
    def kvstore(self) -> str: ...

    @property
    def gpus(self) -> str: ...


class _Start(Protocol):
    @property
    def initial(self) -> str | None: ...


class RunOptions(Protocol):
    """The part of a run's config that the checks read."""

    @property
    def compute(self) -> Compute: ...

    @property
    def training(self) -> _Training: ...

    @property
    def start(self) -> _Start: ...


def check_mxnet(config: RunOptions) -> None:
    """Raise FlagError for options that MXNet's backend does not support."""
    compute = config.compute
    is_imagenet = isinstance(config.compute, ImagenetCompute)
    _reject_flags_of('torch', tf32=compute.tf32, compile=compute.compile, initial=bool(config.start.initial),
                     dtype=compute.dtype if compute.dtype == 'bfloat16' else '',
                     syncbn=compute.syncbn and not is_imagenet)
    gpus = len(parse_gpus(config.training.gpus))
    if compute.syncbn and gpus < 2:  # MXNet's waits forever on a CPU
        raise FlagError('--syncbn', f'it is for two or more GPUs, but --num-gpus is {gpus}; leave it out')


def check_torch(config: RunOptions) -> None:
    """Raise FlagError for options that PyTorch's backend does not support."""
    compute, kvstore = config.compute, config.training.kvstore
    _reject_flags_of('mxnet', mode=compute.mode if compute.mode != 'hybrid' else '',
                     kvstore=kvstore if kvstore != SINGLE_PROCESS_STORE else '')
    if compute.syncbn and compute.compile:
        raise FlagError('--syncbn', 'torch.compile cannot compile it; leave --compile or --syncbn out')


def _reject_flags_of(engine: str, **flags: Union[bool, str]) -> None:
    """Raise FlagError if any of these flags, which only ``engine`` supports, is given."""
    for flag, value in flags.items():
        if value:
            setting = 'it' if value is True else str(value)
            raise FlagError(flag_of(flag), f'{setting} needs --engine {engine}; leave it out')

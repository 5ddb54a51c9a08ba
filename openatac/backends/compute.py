"""The backends by name, and the options of a run that say which one computes it, and how."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Literal, NamedTuple, Optional, Union

from openatac.limits import POSITIVE
from openatac.options import Section, option
from openatac.registry import Registry


class BackendEntry(NamedTuple):
    """What is known of a backend before its library is loaded.

    Attributes
    ----------
    factory : callable or str
        Returns a `Backend` (openatac.backends.base); or the place of one that does, 'module:name'.
    check : callable
        ``check(config)`` raises ValueError, with a user-facing message, for options that the backend lacks.
    """

    factory: Any
    check: Callable[[Any], None]


INITIAL_LOSS_SCALE = 1024.0  # by default

BACKENDS: Registry[BackendEntry] = Registry('backend', hyphens=True)


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


# ---------------------------------------------------------------------- what the backends lack

def _check_mxnet(config: Any) -> None:
    compute, is_imagenet = config.compute, isinstance(config.compute, ImagenetCompute)
    _check_unused('torch', tf32=compute.tf32, compile=compute.compile, initial=bool(config.start.initial),
                  dtype=compute.dtype if compute.dtype == 'bfloat16' else '',
                  syncbn=compute.syncbn and not is_imagenet)


def _check_torch(config: Any) -> None:
    compute, kvstore = config.compute, getattr(config.training, 'kvstore', 'device')
    _check_unused('mxnet', mode=compute.mode if compute.mode != 'hybrid' else '',
                  kvstore=kvstore if kvstore != 'device' else '')
    if compute.syncbn and compute.compile:
        raise ValueError('argument --syncbn: torch.compile does not compile it; leave --compile or --syncbn '
                         'out')


def _check_unused(engine: str, **flags: Union[bool, str]) -> None:
    """Raise ValueError if one of these flags, which are for ``engine`` alone, is given."""
    for flag, value in flags.items():
        if value:
            what = 'it' if value is True else value
            raise ValueError(f'argument --{flag}: {what} is for --engine {engine}; leave it out')


BACKENDS.register('mxnet', BackendEntry('openatac.backends.mxnet.backend:MxnetBackend', _check_mxnet))
BACKENDS.register('torch', BackendEntry('openatac.backends.torch.backend:TorchBackend', _check_torch))

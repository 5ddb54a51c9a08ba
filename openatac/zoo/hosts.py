"""Host networks, which activations and attention blocks are built into, and their registry."""
from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openatac.registry import Factories, Registry, arguments_of
from openatac.zoo.host_arguments import CIFAR_RESNET18_V1, CIFAR_RESNET_V2, RESNET50_V1B


@dataclass(frozen=True)
class Host(Factories):
    """A host network, as `openatac.register_host` registers it.

    Networks are called TITLE_UNIT, where TITLE is the host and its depth and UNIT its activation and
    attention, as in ``cifar_resnet20_v2_atac``.

    Parameters
    ----------
    name : str
        The host's own name.
    factory, torch_factory : callable or str, optional
        Gluon's and PyTorch's, as in `Factories`. They take ``classes`` and ``act_type`` and, if
        the host has them, ``attention``, ``self_attention``, ``useGlobal``, ``layers`` and others. Each
        returns a HybridBlock or a Module that maps images (B, C, H, W) to logits (B, classes).
    input_shape : tuple of int
        (C, H, W) of the images it was designed for.
    data : {'cifar', 'imagenet'}
        The family of its images, which determines their augmentation and normalisation. train-cifar trains
        any host for 'cifar'; train-imagenet trains only the published one.
    title : str, optional
        The start of its networks' names; default ``name``. '{depth}' in it is replaced with the number of
        layers, 2 * stages * blocks + 2.
    stages : int
        Number of stages.
    blocks : tuple of int
        Blocks per stage of the networks that `openatac.get_model_list` lists; empty if the factory has no
        argument ``layers`` or stages of different lengths.
    stage_prefix : str
        The part before a stage's number in the prefixes of its blocks, such as 'stage' in 'stage1_'.
    output : str
        Structural name of the last dense layer.
    arguments : dict, optional
        {name: default}; by default read from the signature of a factory.
    """

    input_shape: tuple[int, int, int] = (3, 32, 32)
    data: str = 'cifar'
    title: str | None = None
    stages: int = 4
    blocks: tuple[int, ...] = ()
    stage_prefix: str = 'stage'
    output: str = 'output'
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.arguments:
            factory = self.torch if self.factory is None else self.gluon
            parameters = inspect.signature(factory).parameters
            object.__setattr__(self, 'arguments', {
                name: parameters[name].default for name in arguments_of(factory)})
        if self.data not in ('cifar', 'imagenet'):
            raise ValueError(f"data must be 'cifar' or 'imagenet', not {self.data!r}")
        missing = {'classes', 'act_type', *(('layers',) if self.blocks else ())} - set(self.arguments)
        if missing:
            raise ValueError(f'the factory of host {self.name} must take {" and ".join(sorted(missing))}')
        if '{depth}' in (self.title or '') and not self.blocks:
            raise ValueError(f'title {self.title!r} has a depth: give the listed blocks per stage in blocks')

    def layers(self, blocks: int) -> dict[str, tuple[int, ...]]:
        """Return ``layers`` for that many blocks per stage; empty for a host without ``blocks``."""
        return {'layers': (blocks,) * self.stages} if self.blocks else {}

    def title_of(self, blocks: int | None = None) -> str:
        """Return the start of the name of its network with that many blocks per stage."""
        return (self.title or self.name).lower().format(depth=2 * self.stages * (blocks or 0) + 2)

    @property
    def example(self) -> str:
        """The name of one of its networks."""
        return f'{self.title_of(self.blocks[-1] if len(self.blocks) == 1 else 3)}_atac'

    def parse(self, name: str) -> tuple[dict[str, Any], str] | None:
        """Return (the settings in the title of a network's name, its unit); None for other hosts' names."""
        title = re.escape((self.title or self.name).lower()).replace(r'\{depth\}', r'(?P<depth>\d{1,6})')
        match = re.fullmatch(f'{title}_(?P<unit>.+)', name.lower())
        if match is None:
            return None
        if 'depth' not in match.groupdict():
            return self.layers(self.blocks[0]) if self.blocks else {}, match['unit']
        blocks, rest = divmod(int(match['depth']) - 2, 2 * self.stages)
        return None if rest or blocks < 1 else (self.layers(blocks), match['unit'])


def _both(place: str) -> tuple[str, str]:
    """Return the locations of Gluon's and PyTorch's networks with that name."""
    return f'openatac.models.{place}', f'openatac.pytorch.models.{place}'


PUBLISHED_CIFAR_HOST, PUBLISHED_IMAGENET_HOST = 'cifar_resnet_v2', 'resnet50_v1b'
HOSTS: Registry[Host] = Registry('host')
for _host in (
        Host(PUBLISHED_CIFAR_HOST, *_both('cifar_resnet:ResNet20V2ATAC'), arguments=CIFAR_RESNET_V2,
             title='cifar_resnet{depth}_v2', stages=3, blocks=(1, 2, 3, 4, 5, 18)),
        Host('cifar_resnet18_v1', *_both('cifar_resnet18:CIFARResNet18'), arguments=CIFAR_RESNET18_V1,
             blocks=(2,)),
        Host(PUBLISHED_IMAGENET_HOST, *_both('resnet_v1b:ResNet50_v1bATAC'), arguments=RESNET50_V1B,
             input_shape=(3, 224, 224), data='imagenet', stage_prefix='layers', output='fc')):
    HOSTS.register(_host.name, _host)

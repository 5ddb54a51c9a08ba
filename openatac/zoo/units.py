"""The units that networks are built with, by name: activations, attention blocks, self-attention.

Each is declared here once, for MXNet and PyTorch, and loaded from `openatac.nn` or `openatac.pytorch.nn` when
it is first built. Both have the same arguments.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openatac.registry import Factories, Registry


@dataclass(frozen=True)
class SelfAttention:
    """Self-attention in place of a host's convolutions.

    Parameters
    ----------
    spatial : Factories
        Build the replacement for a 3x3 convolution from its ``channels``, ``strides`` and ``dilation``.
    stages : four dicts or None
        Its other arguments in each stage; None keeps the stage's convolutions.
    stem : Factories, optional
        Build the replacement for the 7x7 convolution from its ``channels``, without its stride; the
        following max pooling is then 4x4.
    multiple : int, default 1
        Image sides must be multiples of it.
    """

    spatial: Factories
    stages: tuple[Mapping[str, Any] | None, ...]
    stem: Factories | None = None
    multiple: int = 1


def _unit(name: str, gluon: str, torch: str | None = None) -> Factories:
    """Return the factories called ``gluon`` and ``torch`` ('file:name', the same by default)."""
    return Factories(name, 'openatac.nn.' + gluon, 'openatac.pytorch.nn.' + (torch or gluon))


ATAC = 'ChaATAC'
ACTIVATIONS: Registry[Factories] = Registry('act_type')
for _name in ('relu', 'prelu', 'elu', 'selu', 'gelu', 'swish', 'mish'):
    ACTIVATIONS.register(_name, _unit(_name, 'activations:' + _name))
ACTIVATIONS.register('frelu', _unit('frelu', 'frelu:FReLU'))
ACTIVATIONS.register('sine', _unit('sine', 'activations:sine'))
ACTIVATIONS.register('xunit', _unit('xunit', 'xunit:XUnit'))
ACTIVATIONS.register(ATAC, _unit(ATAC, 'atac:ChaATAC', 'atac:ATAC'), alias='atac')

ATTENTIONS: Registry[Factories] = Registry('attention')
for _name, _module in {
        'se': 'squeeze_excite:SEBlock', 'ge': 'gather_excite:GatherExcite',
        'ge_theta': 'gather_excite:gather_excite_theta',
        'ge_theta_minus': 'gather_excite:gather_excite_theta_minus', 'eca': 'attention:ECA',
        'cbam': 'attention:CBAM', 'lca': 'attention:LocalSEBlock', 'nin': 'attention:NINBlock'}.items():
    ATTENTIONS.register(_name, _unit(_name, _module))

SELF_ATTENTIONS: Registry[SelfAttention] = Registry('self_attention')
SELF_ATTENTIONS.register('aa', SelfAttention(  # at half the resolution in the second stage, to save memory
    _unit('aa', 'augmented_conv:AttentionAugmentedConv2D'), (None, {'downsample': True}, {}, {})))
SELF_ATTENTIONS.register('fa', SelfAttention(
    _unit('fa', 'local_self_attention:StandAloneSelfAttention'), ({},) * 4,
    stem=_unit('fa', 'local_self_attention:AttentionStem'), multiple=4))

REGISTRIES: dict[str, Registry[Any]] = {  # by the argument that names a unit
    'act_type': ACTIVATIONS, 'attention': ATTENTIONS, 'self_attention': SELF_ATTENTIONS}

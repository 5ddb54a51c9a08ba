"""Gluon's own names of parameters, such as ``resnet20v2atac0_stage1_conv0_weight``, without MXNet.

Exports and ``net.collect_params().save`` use them. Gluon numbers the blocks of each kind within a scope, and
a block opens a scope unless its twin is listed in ``_WITHOUT_SCOPE``.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from torch import nn

from openatac.pytorch.models.parts import Stage

# Kinds whose names differ from the class names here by more than letter case.
_KINDS = {'ATAC': 'chaatac', 'Conv1d': 'conv', 'Conv2d': 'conv', 'Linear': 'dense',
          'GlobalDepthwise': '_globaldepthwise', 'RelativeLogits': '_relativelogits'}
_WITHOUT_SCOPE = {'CIFARBasicBlockV2ATAC', 'BottleneckV1bATAC', 'ResNet50_v1bATAC'}
# Scopes of nn.Sequential by structural name; others open none.
_SEQUENTIAL_SCOPES = {r'.*(excite|gather)': r'{scope}\1_', r'layer(\d)': r'layers\1_',
                      r'layer(\d)\.0\.downsample': r'down\1_'}


def gluon_names(net: nn.Module) -> dict[str, str]:
    """Return {structural name: Gluon's own name} for a network or unit of `openatac.pytorch`."""
    kind = type(net).__name__
    scope = '' if kind in _WITHOUT_SCOPE else f'{_KINDS.get(kind, kind.lower())}0_'
    return dict(_names(net, '', scope, Counter()))


def _names(module: nn.Module, path: str, scope: str, counts: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield the names in a module called ``path``; ``counts`` has the blocks so far by scope and kind."""
    for name in [*module._parameters, *module._buffers]:
        if getattr(module, name) is not None:
            yield path + name, scope + name
    for key, child in module.named_children():
        kind = type(child).__name__
        if isinstance(child, nn.Sequential):
            inner = (f'{scope}stage{child.number}_' if path == 'features.' and isinstance(child, Stage) else
                     _sequential_scope(path + key, scope))
        elif kind in _WITHOUT_SCOPE:
            inner = scope
        else:
            block = scope + _KINDS.get(kind, kind.lower())
            inner = f'{block}{counts[block]}_'
            counts[block] += 1
        yield from _names(child, f'{path}{key}.', inner, counts)


def _sequential_scope(path: str, scope: str) -> str:
    for pattern, inner in _SEQUENTIAL_SCOPES.items():
        match = re.fullmatch(pattern, path)
        if match:
            return match.expand(inner).format(scope=scope)
    return scope

"""The oracle: what the authors' published code computes, and how to build the same case from ours.

``cases/*.json`` and ``*.npz`` are recorded figures (no weights: `fill` draws them).
"""
import json
from pathlib import Path

import numpy as np

CASES = Path(__file__).parent / 'cases'
NAMES = sorted(path.stem for path in CASES.glob('*.json'))


def load(name):
    """(description, arrays) of one case."""
    description = json.loads((CASES / (name + '.json')).read_text())
    return description, dict(np.load(CASES / (name + '.npz'), allow_pickle=False))


def build(description):
    """Our network for a case, not yet initialised."""
    from openatac.models.cifar_resnet import ResNet20V2ATAC
    from openatac.models.resnet_v1b import ResNet50_v1bATAC
    from openatac.nn.atac import ChaATAC
    arguments = dict(description['arguments'])
    if description['kind'] == 'unit':
        return ChaATAC(**{'channels': description['input_shape'][1], 'r': 2, **arguments})
    if description['kind'] == 'cifar':
        blocks, width = arguments.pop('blocks', 1), arguments.pop('width', 1)
        channels = [width * c for c in (16, 16, 32, 64)]
        return ResNet20V2ATAC(layers=[blocks] * 3, channels=channels, **arguments)
    return ResNet50_v1bATAC(**{'layers': [1, 1, 1, 1], **arguments})

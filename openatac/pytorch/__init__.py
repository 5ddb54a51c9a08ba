"""ATAC in PyTorch: the unit, related units and the networks as plain modules, without MXNet.

    from openatac.pytorch import ATAC, get_model
    unit = ATAC(64)                                              # in place of nn.ReLU() on 64 channels
    net = get_model('cifar_resnet20_v2_atac', classes=100)

Modules have the names, arguments and ``state_dict()`` keys of their Gluon twins, and the same outputs. But
ATAC is called ChaATAC in Gluon; BatchNorm, GroupNorm and PReLU take no initializers here; and the two
normalisations take ``channels`` first, in place of ``in_channels``.
"""
from openatac.system.installed import require_torch

require_torch()

from openatac.pytorch.models.cifar_resnet import ResNet20V2ATAC
from openatac.pytorch.models.cifar_resnet18 import CIFARResNet18
from openatac.pytorch.models.resnet_v1b import ResNet50_v1bATAC
from openatac.pytorch.networks_by_name import get_model
from openatac.pytorch.nn.activations import PReLU, Sine
from openatac.pytorch.nn.atac import ATAC
from openatac.pytorch.nn.attention import CBAM, ECA, LocalSEBlock, NINBlock
from openatac.pytorch.nn.augmented_conv import AttentionAugmentedConv2D
from openatac.pytorch.nn.frelu import FReLU
from openatac.pytorch.nn.gather_excite import GatherExcite
from openatac.pytorch.nn.local_self_attention import AttentionStem, StandAloneSelfAttention
from openatac.pytorch.nn.normalisation import BatchNorm, GroupNorm, use_biased_variance
from openatac.pytorch.nn.squeeze_excite import SEBlock
from openatac.pytorch.nn.xunit import XUnit
from openatac.pytorch.weights import load_parameters, save_parameters
from openatac.zoo.names import get_model_list

__all__ = [
    'ATAC', 'CBAM', 'ECA', 'AttentionAugmentedConv2D', 'AttentionStem', 'BatchNorm', 'CIFARResNet18', 'FReLU',
    'GatherExcite', 'GroupNorm', 'LocalSEBlock', 'NINBlock', 'PReLU', 'ResNet20V2ATAC',
    'ResNet50_v1bATAC', 'SEBlock', 'Sine', 'StandAloneSelfAttention', 'XUnit', 'get_model', 'get_model_list',
    'load_parameters', 'save_parameters', 'use_biased_variance',
]

"""The networks by name, in GluonCV's style.

``cifar_resnet{6b+2}_v2_{unit}`` for b = 1..5 and 18, ``cifar_resnet18_v1_{unit}`` and
``resnet50_v1b_{unit}``, where ``unit`` is the lower-case name of an activation, ``atac`` being ChaATAC,
or of an attention block, with ReLU as activation; and ``resnet50_v1b_aa`` and ``resnet50_v1b_fa``, with
self-attention in or for its 3x3 convolutions.
"""
import difflib
from functools import partial

from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.resnet_v1b import SELF_ATTENTIONS, ResNet50_v1bATAC
from openatac.nn.activations import ACTIVATIONS
from openatac.nn.attention import ATTENTIONS

CIFAR_BLOCKS = (1, 2, 3, 4, 5, 18)


def unit_name(act_type, attention=None, useGlobal=False):
    """The unit's name in a model's name: 'atac' for 'ChaATAC', 'se' for SE over ReLU, 'swish_se', ...

    'atac_global' is ATAC with the global gate, the paper's "SE as activation".
    """
    activation = 'atac' if act_type == 'ChaATAC' else act_type.lower()
    if activation == 'atac' and useGlobal:
        activation = 'atac_global'
    if attention is None:
        return activation
    return attention if activation == 'relu' else '%s_%s' % (activation, attention)


def cifar_model_name(blocks, act_type, attention=None):
    """'cifar_resnet20_v2_atac' for 3 blocks per stage of ChaATAC."""
    return 'cifar_resnet%d_v2_%s' % (6 * blocks + 2, unit_name(act_type, attention))


def _table():
    models = {}
    units = [{'act_type': name} for name in ACTIVATIONS] + [
        {'act_type': 'relu', 'attention': name} for name in ATTENTIONS]
    for unit in units:
        for blocks in CIFAR_BLOCKS:
            models[cifar_model_name(blocks, **unit)] = partial(ResNet20V2ATAC, layers=(blocks,) * 3, **unit)
        models['cifar_resnet18_v1_' + unit_name(**unit)] = partial(CIFARResNet18, layers=(2,) * 4, **unit)
        models['resnet50_v1b_' + unit_name(**unit)] = partial(ResNet50_v1bATAC, **unit)
    for name in SELF_ATTENTIONS:
        models['resnet50_v1b_' + name] = partial(ResNet50_v1bATAC, act_type='relu', self_attention=name)
    return models


MODELS = _table()


def get_model_list():
    """The names that `get_model` knows, sorted."""
    return sorted(MODELS)


def find_model(name):
    """The host with the settings that ``name`` stands for, as a functools.partial.

    Raises ValueError for an unknown name, with the nearest ones.
    """
    if name.lower() not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=5, cutoff=0.3)
        raise ValueError('unknown model %r; the nearest names are %s' % (name, ', '.join(near)))
    return MODELS[name.lower()]


def get_model(name, classes=None, ctx=None, pretrained=False, **kwargs):
    """The network called ``name`` (in any case), not yet initialised unless ``pretrained``.

    name : str
        One of `get_model_list`.
    classes : int, optional
        Default: the host's, 10 for CIFAR and 1000 for ImageNet.
    ctx : mxnet.Context or list of them, optional
        Where ``pretrained`` parameters are put; the CPU if not given.
    pretrained : False or str
        A .params file of this very network. (No trained weights are published for download.)
    kwargs
        Arguments of the host, such as ``r``, ``useGlobal``, ``act_layers`` or ``reduction``.

    Raises ValueError for an unknown name, with the nearest ones, and for bad arguments;
    ParameterFileError for a file that is damaged or of another network.
    """
    builder = find_model(name)
    if pretrained is True:
        raise ValueError('no trained weights are published: pretrained must be False or a .params file')
    if classes is not None:
        kwargs['classes'] = classes
    net = builder(**kwargs)
    if pretrained:
        from openatac.models.parameters import load_parameters
        load_parameters(net, pretrained, ctx)
    return net

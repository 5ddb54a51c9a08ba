"""The network that a config describes."""
from __future__ import annotations

from typing import Any, Dict, Tuple

import mxnet as mx
from mxnet.gluon import nn

from openatac.data.cifar import SHAPE
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.models.zoo import cifar_model_name, find_model, unit_name
from openatac.nn.group_norm import GroupNorm
from openatac.options import changed
from openatac.training.config import CifarConfig, Config, ImagenetConfig, ImagenetNetwork

CLASSES = {'cifar10': 10, 'cifar100': 100, 'digits': 10}


def resolve(config: Config) -> Config:
    """The config with what the name of a network in ``model`` says of the other options.

    Raises ValueError for an unknown name, and for options that contradict it.
    """
    if isinstance(config, ImagenetConfig):
        return config
    host, _, named = _named(config.network.model)
    found: Dict[str, Any] = {'host': None if host is ResNet20V2ATAC else 'cifar_resnet18_v1'}
    for name, default in (('blocks', 3), ('act_type', 'ChaATAC'), ('attention', None)):
        given = getattr(config.network, name)
        if name in named and given not in (None, named[name]):
            raise ValueError(f'argument --{name.replace("_", "-")}: --model {config.network.model} is built '
                             f'with {named[name]}; leave out one of the two')
        found[name] = named.get(name, default) if given is None else given
    return changed(config, **found)


def _named(model: str) -> Tuple[Any, int, Dict[str, Any]]:
    """(host, its stages, options) that the name of a network stands for; 'atac' stands for no options."""
    if model == 'atac':
        return ResNet20V2ATAC, 3, {}
    network = find_model(model)
    if network.func not in (ResNet20V2ATAC, CIFARResNet18):
        raise ValueError(f'argument --model: {model} is for ImageNet; choose a cifar_resnet network')
    layers = network.keywords['layers']
    return network.func, len(layers), {
        'blocks': layers[0], **{name: network.keywords.get(name) for name in ('act_type', 'attention')}}


def build_network(config: Config) -> Tuple[Any, str]:
    """(HybridBlock, not initialised; its name) of a config that `resolve` returned.

    Raises ValueError for options that make no network.
    """
    if isinstance(config, CifarConfig):
        return _build_cifar(config)
    return _build_imagenet(config)


def _build_cifar(config: CifarConfig) -> Tuple[Any, str]:
    network = config.network
    host, stages, _ = _named(network.model)
    net = host(
        layers=[network.blocks] * stages, act_type=network.act_type, classes=CLASSES[config.data.dataset],
        act_layers=network.act_layers, r=network.r, useReLU=network.useReLU, useGlobal=network.useGlobal,
        drop_rate=network.drop_rate, attention=network.attention, reduction=network.reduction)
    name = network.model.lower() if network.host else cifar_model_name(
        network.blocks, network.act_type, network.attention)
    return net, name


def _build_imagenet(config: ImagenetConfig) -> Tuple[Any, str]:
    network, side = config.network, config.data.input_size
    if network.self_attention == 'fa' and side % 4:
        raise ValueError('argument --self-attention: fa takes images whose sides 4 divides, and --input-size '
                         f'is {side}')
    net = ResNet50_v1bATAC(
        act_type=network.act_type, attention=network.attention, r=network.r, act_layers=network.act_layers,
        classes=network.num_classes, last_gamma=network.last_gamma, reduction=network.reduction,
        self_attention=network.self_attention, **_normalisation(network, config.training.num_gpus))
    unit = unit_name(network.act_type, network.attention)
    if network.self_attention is None:
        return net, 'resnet50_v1b_' + unit
    return net, 'resnet50_v1b_' + ('' if unit == 'relu' else unit + '_') + network.self_attention


def _normalisation(network: ImagenetNetwork, gpus: int) -> Dict[str, Any]:
    if network.syncbn:
        if network.use_gn:
            raise ValueError('argument --syncbn: --use-gn leaves it no BatchNorm; choose one of the two')
        if gpus < 2:  # MXNet's waits for ever on a CPU
            raise ValueError(f'argument --syncbn: it is for two GPUs and more, and --num-gpus is {gpus}; '
                             'leave it out')
        return {'norm_layer': mx.gluon.contrib.nn.SyncBatchNorm, 'norm_kwargs': {'num_devices': gpus}}
    return {'norm_layer': GroupNorm if network.use_gn else nn.BatchNorm}


def for_one_device(config: Config) -> Config:
    """The config of the same network on one device, which needs no synchronised BatchNorm."""
    return changed(config, syncbn=False) if isinstance(config, ImagenetConfig) else config


def image_shape(config: Config) -> Tuple[int, int, int]:
    """(C, H, W) of the images that the network takes."""
    if isinstance(config, CifarConfig):
        return SHAPE
    return 3, config.data.input_size, config.data.input_size


def print_layers(net: Any, shape: Tuple[int, int, int]) -> None:
    """Print Gluon's table of layers, output shapes and parameters."""
    net.initialize()
    net.summary(mx.nd.zeros((1, *shape)))

"""The CIFAR network of train_cifar.py's flags."""
from __future__ import annotations

import argparse
from typing import Any

import mxnet as mx

from openatac.data.cifar import SHAPE
from openatac.models.hosts import Host
from openatac.models.zoo import PUBLISHED_CIFAR_HOST, find_host, find_model, unit_name
from openatac.nn.activations import ACTIVATIONS
from openatac.nn.attention import ATTENTIONS
from openatac.training.initial import write_initial

CLASSES = {'cifar10': 10, 'cifar100': 100, 'digits': 10}
# The flags that make the network, and its initial values.
NETWORK_FLAGS = ('model', 'host', 'blocks', 'act_type', 'attention', 'reduction', 'r', 'act_layers',
                 'useGlobal', 'useReLU', 'drop_rate', 'dataset', 'seed', 'resume_from')


def build_network(args: argparse.Namespace) -> mx.gluon.HybridBlock:
    """The network of the flags, not initialised; fills in what --model says of --blocks and others.

    ``args.host`` becomes the host's name where --model is of another one than the published.
    Raises ValueError for flags that do not describe a network.
    """
    host, named = _named(args.model)
    args.host = None if host.name == PUBLISHED_CIFAR_HOST else host.name
    for flag, registry in (('act_type', ACTIVATIONS), ('attention', ATTENTIONS)):
        if getattr(args, flag) is not None:
            setattr(args, flag, registry.name_of(getattr(args, flag)))
    for flag, default in (('blocks', 3), ('act_type', 'ChaATAC'), ('attention', None)):
        given = getattr(args, flag)
        if flag in named and given not in (None, named[flag]):
            raise ValueError(f'argument --{flag.replace("_", "-")}: --model {args.model} is built with '
                             f'{named[flag]}; leave out one of the two')
        setattr(args, flag, named.get(flag, default) if given is None else given)
    args.useGlobal = args.useGlobal or named.get('useGlobal', False)
    settings = {flag: getattr(args, flag) for flag in (
        'act_type', 'act_layers', 'r', 'useReLU', 'useGlobal', 'drop_rate', 'attention', 'reduction')
        if flag in host.settings}
    return host.build(classes=CLASSES[args.dataset], **settings, **host.layers(args.blocks))


def _named(model: str) -> tuple[Host, dict[str, Any]]:
    """(host, flags) that the name of a network stands for; 'atac' leaves the flags open."""
    if model == 'atac':
        return find_host(PUBLISHED_CIFAR_HOST), {}
    host, settings = find_model(model)
    if host.data != 'cifar':
        raise ValueError(f'argument --model: {model} is for ImageNet; choose a cifar_resnet network')
    layers = settings.pop('layers', None)
    return host, {'attention': None, **settings, **({'blocks': layers[0]} if layers else {})}


def model_name(args: argparse.Namespace) -> str:
    """The name of `build_network`'s network, such as 'cifar_resnet20_v2_atac'."""
    host = find_host(args.host or PUBLISHED_CIFAR_HOST)
    return f'{host.title_of(args.blocks)}_{unit_name(args.act_type, args.attention)}'


def print_or_write(net, name, args):
    """With --summary print Gluon's table of layers, output shapes and parameters; else do --write-initial."""
    if args.write_initial:
        return write_initial(net, args, NETWORK_FLAGS, name, SHAPE, args.resume_from)
    net.initialize()
    net.summary(mx.nd.zeros((1,) + SHAPE))

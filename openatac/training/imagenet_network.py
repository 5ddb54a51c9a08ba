"""The ImageNet network of train_imagenet.py's flags."""
from __future__ import annotations

import argparse

import mxnet as mx
from mxnet.gluon import nn

from openatac.models.resnet_v1b import HOST, SELF_ATTENTIONS
from openatac.models.zoo import unit_name
from openatac.nn.activations import ACTIVATIONS
from openatac.nn.attention import ATTENTIONS
from openatac.nn.group_norm import GroupNorm
from openatac.training.initial import write_initial

# The flags that make the network, and its initial values.
NETWORK_FLAGS = ('act_type', 'attention', 'self_attention', 'reduction', 'r', 'act_layers', 'num_classes',
                 'use_gn', 'last_gamma', 'input_size', 'seed', 'resume_params')


def build_network(args: argparse.Namespace) -> mx.gluon.HybridBlock:
    """The network of the flags, not initialised; ValueError for flags that do not describe a network."""
    for flag, registry in (('act_type', ACTIVATIONS), ('attention', ATTENTIONS),
                           ('self_attention', SELF_ATTENTIONS)):
        if getattr(args, flag) is not None:
            setattr(args, flag, registry.name_of(getattr(args, flag)))
    multiple = SELF_ATTENTIONS.find(args.self_attention).multiple if args.self_attention else 1
    if args.input_size % multiple:
        raise ValueError(f'argument --self-attention: {args.self_attention} takes images whose sides are '
                         f'multiples of {multiple}, and --input-size is {args.input_size}')
    return HOST.build(
        act_type=args.act_type, attention=args.attention, r=args.r, act_layers=args.act_layers,
        classes=args.num_classes, last_gamma=getattr(args, 'last_gamma', False),
        reduction=args.reduction, self_attention=args.self_attention, **_normalisation(args))


def _normalisation(args):
    if getattr(args, 'syncbn', False):
        if args.use_gn:
            raise ValueError('argument --syncbn: --use-gn leaves it no BatchNorm; choose one of the two')
        if args.num_gpus < 2:  # MXNet's waits for ever on a CPU
            raise ValueError('argument --syncbn: it is for two GPUs and more, and --num-gpus is %d; leave it '
                             'out' % args.num_gpus)
        return {'norm_layer': mx.gluon.contrib.nn.SyncBatchNorm,
                'norm_kwargs': {'num_devices': args.num_gpus}}
    if args.use_gn:
        return {'norm_layer': GroupNorm}
    return {'norm_layer': nn.BatchNorm}


def model_name(args: argparse.Namespace) -> str:
    """'resnet50_v1b_atac', as in the names of the files that a run leaves."""
    unit = unit_name(args.act_type, args.attention, self_attention=args.self_attention)
    return f'{HOST.title_of()}_{unit}'


def print_or_write(net, name, args):
    """With --summary print Gluon's table of layers, output shapes and parameters; else do --write-initial."""
    shape = (3, args.input_size, args.input_size)
    if args.write_initial:
        return write_initial(net, args, NETWORK_FLAGS, name, shape, args.resume_params)
    net.initialize()
    net.summary(mx.nd.zeros((1,) + shape))

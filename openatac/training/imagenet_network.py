"""The ImageNet network of train_imagenet.py's flags."""
import mxnet as mx
from mxnet.gluon import nn

from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.models.zoo import unit_name
from openatac.nn.group_norm import GroupNorm
from openatac.training.initial import write_initial

# The flags that make the network, and its initial values.
NETWORK_FLAGS = ('act_type', 'attention', 'self_attention', 'reduction', 'r', 'act_layers', 'num_classes',
                 'use_gn', 'last_gamma', 'input_size', 'seed', 'resume_params')


def build_network(args):
    """The network of the flags, not initialised. Raises ValueError for flags that make no network."""
    if args.self_attention == 'fa' and args.input_size % 4:
        raise ValueError('argument --self-attention: fa takes images whose sides 4 divides, and --input-size '
                         'is %d' % args.input_size)
    return ResNet50_v1bATAC(
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


def model_name(args):
    """'resnet50_v1b_atac', as in the names of the files that a run leaves."""
    unit = unit_name(args.act_type, args.attention)
    if args.self_attention is None:
        return 'resnet50_v1b_' + unit
    return 'resnet50_v1b_' + ('' if unit == 'relu' else unit + '_') + args.self_attention


def print_or_write(net, name, args):
    """With --summary print Gluon's table of layers, output shapes and parameters; else do --write-initial."""
    shape = (3, args.input_size, args.input_size)
    if args.write_initial:
        return write_initial(net, args, NETWORK_FLAGS, name, shape, args.resume_params)
    net.initialize()
    net.summary(mx.nd.zeros((1,) + shape))

"""The CIFAR network of train_cifar.py's flags."""
import mxnet as mx

from openatac.data.cifar import SHAPE
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.zoo import cifar_model_name, find_model
from openatac.training.initial import write_initial

CLASSES = {'cifar10': 10, 'cifar100': 100, 'digits': 10}
# The flags that make the network, and its initial values.
NETWORK_FLAGS = ('model', 'host', 'blocks', 'act_type', 'attention', 'reduction', 'r', 'act_layers',
                 'useGlobal', 'useReLU', 'drop_rate', 'dataset', 'seed', 'resume_from')


def build_network(args):
    """The network of the flags, not initialised; fills in what --model says of --blocks and others.

    ``args.host`` becomes the host's name where --model is of another one than the published.
    Raises ValueError for flags that make no network.
    """
    host, stages, named = _named(args.model)
    args.host = None if host is ResNet20V2ATAC else 'cifar_resnet18_v1'
    for flag, default in (('blocks', 3), ('act_type', 'ChaATAC'), ('attention', None)):
        given = getattr(args, flag)
        if flag in named and given not in (None, named[flag]):
            raise ValueError('argument --%s: --model %s is built with %s; leave out one of the two'
                             % (flag.replace('_', '-'), args.model, named[flag]))
        setattr(args, flag, named.get(flag, default) if given is None else given)
    return host(
        layers=[args.blocks] * stages, act_type=args.act_type, classes=CLASSES[args.dataset],
        act_layers=args.act_layers, r=args.r, useReLU=args.useReLU, useGlobal=args.useGlobal,
        drop_rate=args.drop_rate, attention=args.attention, reduction=args.reduction)


def _named(model):
    """(host, its stages, flags) that the name of a network stands for; 'atac' says nothing of the flags."""
    if model == 'atac':
        return ResNet20V2ATAC, 3, {}
    network = find_model(model)
    if network.func not in (ResNet20V2ATAC, CIFARResNet18):
        raise ValueError('argument --model: %s is for ImageNet; choose a cifar_resnet network' % model)
    layers = network.keywords['layers']
    return network.func, len(layers), {
        'blocks': layers[0], **{flag: network.keywords.get(flag) for flag in ('act_type', 'attention')}}


def model_name(args):
    """The name of `build_network`'s network, such as 'cifar_resnet20_v2_atac'."""
    return args.model.lower() if args.host else cifar_model_name(args.blocks, args.act_type, args.attention)


def print_or_write(net, name, args):
    """With --summary print Gluon's table of layers, output shapes and parameters; else do --write-initial."""
    if args.write_initial:
        return write_initial(net, args, NETWORK_FLAGS, name, SHAPE, args.resume_from)
    net.initialize()
    net.summary(mx.nd.zeros((1,) + SHAPE))

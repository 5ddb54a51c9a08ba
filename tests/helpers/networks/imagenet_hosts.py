"""Small networks in ResNet-50's place, for tests of train_imagenet.py; test_package.py trains the real one.

Run as a script, this is train_imagenet.py with the smallest of these networks and the same flags.
"""
import contextlib
import dataclasses
import functools

import pytest

from openatac.commands import train_imagenet
from openatac.commands.shared.training_script import run_and_exit
from openatac.distributed import kvstore


def replace_host(host):
    """Register a host in ResNet-50's place, so that train_imagenet.py builds it; return the previous one."""
    from openatac.study.published.our_costs import network_costs
    from openatac.zoo.hosts import HOSTS, PUBLISHED_IMAGENET_HOST
    network_costs.cache_clear()  # its keys are names
    replaced = HOSTS.find(PUBLISHED_IMAGENET_HOST)
    HOSTS.unregister(PUBLISHED_IMAGENET_HOST)
    HOSTS.register(PUBLISHED_IMAGENET_HOST, host)
    return replaced


@contextlib.contextmanager
def in_resnets_place(host):
    """Put the host in ResNet-50's place within the context."""
    replaced = replace_host(host)
    try:
        yield
    finally:
        replace_host(replaced)


def shallow_host():
    """Return ResNet-50's host with one block per stage and few channels.

    Its networks contain every kind of block and a hundredth of the parameters, which dominate the time of
    an epoch of a few photographs.
    """
    from openatac.models import resnet_v1b
    from openatac.zoo.hosts import HOSTS, PUBLISHED_IMAGENET_HOST
    host = HOSTS.find(PUBLISHED_IMAGENET_HOST)

    def narrow(file, factory, arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file, 'STAGE_CHANNELS', (32, 32, 64, 64))
            return factory(**{'layers': (1, 1, 1, 1), **arguments})

    @functools.wraps(resnet_v1b.ResNet50_v1bATAC, updated=())
    def build(**arguments):
        return narrow(resnet_v1b, host.gluon, arguments)

    def build_in_torch(**arguments):
        from openatac.pytorch.models import resnet_v1b
        return narrow(resnet_v1b, host.torch, arguments)

    return dataclasses.replace(host, factory=build, torch_factory=build_in_torch)


def teacher_flags(path):
    """Write the parameters of a teacher of two classes to ``path``; return the flags that use it."""
    from openatac import get_model
    from openatac.models.weights import save_parameters
    from tests.helpers.networks.parameters import initialised
    name = 'cifar_resnet8_v2_relu'
    save_parameters(initialised(get_model(name, classes=2)), str(path))
    return '--teacher', name, '--teacher-params', path


def small_host():
    """Return a host of some 250 parameters, whose BatchNorm sees the images but does not affect the output.

    Several workers therefore compute what one process does with all images, yet each keeps its own running
    statistics.
    """
    from mxnet.gluon import HybridBlock, nn

    from openatac.zoo.hosts import Host

    class Small(HybridBlock):
        def __init__(self, act_type='relu', classes=2, norm_layer=nn.BatchNorm):
            super().__init__()
            with self.name_scope():
                self.convolution = nn.Conv2D(8, kernel_size=3, strides=2, in_channels=3, activation='relu')
                self.norm = norm_layer(in_channels=8)
                self.output = nn.Dense(classes, in_units=8)

        def hybrid_forward(self, F, x):
            x = self.convolution(x)
            x = x + 0 * self.norm(x)
            return self.output(x.mean(axis=(2, 3)))

    return Host('small', Small, data='imagenet')


def main():
    join = kvstore.join_run

    def join_and_shrink(kvstore):
        group = join(kvstore)  # MXNet may be imported only after this
        replace_host(small_host())
        return group

    kvstore.join_run = join_and_shrink
    run_and_exit(train_imagenet.main)


if __name__ == '__main__':
    main()

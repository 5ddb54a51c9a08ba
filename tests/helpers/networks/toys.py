"""Extensions that only tests define, each registered by one call.

They are an activation, an attention block, a host, an export form, a runtime and a backend.
"""
from typing import ClassVar

import mxnet as mx
import numpy as np
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock
from numpy.lib.stride_tricks import sliding_window_view

import openatac
from openatac.backends.mxnet.backend import MxnetBackend
from openatac.export.forms.base import Form
from openatac.export.runtimes.base import Runtime
from openatac.registry import bind_accepted
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host

BATCH = 4


class Gated(HybridBlock):
    """x * sigmoid(slope * x) with a slope per channel, divided by r."""

    def __init__(self, channels, r=1, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.slope = self.params.get('slope', shape=(1, channels, 1, 1), init=mx.init.Constant(1 / r))

    def hybrid_forward(self, F, x, slope):
        return x * F.sigmoid(F.broadcast_mul(x, slope))


class Scale(HybridBlock):
    """x times a weight per channel, whose initial value is the reduction ratio."""

    def __init__(self, channels, reduction=16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=(1, channels, 1, 1),
                                          init=mx.init.Constant(reduction))

    def hybrid_forward(self, F, x, weight):
        return F.broadcast_mul(x, weight)


class Tiny(HybridBlock):
    """A convolution, an activation and an attention block, in one stage."""

    def __init__(self, classes=10, act_type='relu', attention=None, r=2, reduction=16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix='part1_')
            with self.features.name_scope():
                self.features.add(nn.Conv2D(8, 3, strides=2, padding=1, in_channels=3),
                                  bind_accepted(ACTIVATIONS.find(act_type).gluon, r=r)(8))
                if attention is not None:
                    self.features.add(bind_accepted(ATTENTIONS.find(attention).gluon, reduction=reduction)(8))
            self.pool = nn.GlobalAvgPool2D()
            self.head = nn.Dense(classes, in_units=8)

    def hybrid_forward(self, F, x):
        return self.head(self.pool(self.features(x)))


class Weights(Form):
    """The export form: the four arrays of Tiny with ReLU, written by NumPy."""

    name = 'npz'
    suffixes = ('.npz',)
    runtime = 'numpy-loop'
    flags = ('--npz',)
    help = 'also OUT.npz'

    def write(self, network, prefix):
        np.savez(*self.files(prefix), *(array.asnumpy() for array in network.arrays.values()))


class InNumpy(Runtime):
    """The runtime: Tiny with ReLU in NumPy."""

    name = 'numpy-loop'
    form = Weights()

    def load(self):
        with np.load(*self.form.files(self.prefix)) as arrays:
            self.arrays = list(arrays.values())

    def run(self, images):
        kernel, bias, head, head_bias = self.arrays
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        maps = np.einsum('bchwij,ocij->bohw', windows, kernel) + bias[:, None, None]
        return np.maximum(maps, 0).mean(axis=(2, 3)) @ head.T + head_bias


class Reordered(MxnetBackend):
    """The backend: MXNet with the images in another order."""

    orders: ClassVar[list[int]] = []

    def training_batches(self, images, batch_size, seed):
        self.orders.append(seed)
        return super().training_batches(images, batch_size, seed + 1)


def float32_only(config):
    if config.compute.dtype != 'float32':
        raise ValueError(f'argument --dtype: {config.compute.dtype} is not for --engine reordered')


def register_toys():
    """Register all of them."""
    openatac.register_activation('Gated', Gated, alias='gate')
    openatac.register_attention('MyScale', Scale, alias='scale')
    openatac.register_host('Tiny_v1', Tiny, input_shape=(3, 32, 32), data='cifar', stages=1,
                           stage_prefix='part', output='head')
    openatac.register_form(Weights())
    openatac.register_runtime(InNumpy)
    openatac.register_backend('reordered', Reordered, check=float32_only)


def small_toy(name):
    """Return an initialised network of five classes, with the smallest settings of its host."""
    settings = {'layers': [1] * 4, 'channels': (8, 8, 8, 16)} if name.startswith('cifar_resnet18') else {}
    with in_resnets_place(shallow_host()):
        net = openatac.get_model(name, classes=5, reduction=2, **settings)
    mx.random.seed(1)
    net.initialize(mx.init.MSRAPrelu())
    return net

"""A small trained network, its manifest and its inputs."""
import mxnet as mx
import numpy as np
from mxnet import autograd

from openatac import get_model
from openatac.trained.manifest import Manifest

ATAC = 'cifar_resnet8_v2_atac'


def trained_network(name=ATAC, side=32, **settings):
    """Return a network whose parameters and running statistics have left their initial values."""
    mx.random.seed(3)
    net = get_model(name, **{'classes': 5, **settings})
    net.initialize(mx.init.MSRAPrelu())
    trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.01})
    for _ in range(3):
        with autograd.record():
            loss = net(mx.nd.random.normal(0.5, 2, (8, 3, side, side))).square().sum()
        loss.backward()
        trainer.step(8)
    mx.nd.waitall()
    return net


def images(count=3, side=32):
    return np.random.RandomState(5).normal(0.2, 1.5, (count, 3, side, side)).astype('float32')


def outputs(net, x):
    return net(mx.nd.array(x)).asnumpy()


def describe(name=ATAC, side=32, **more):
    """Return the manifest of `trained_network`."""
    return Manifest(name, 5, (3, side, side), (0, 0, 0), (1, 1, 1), **more)

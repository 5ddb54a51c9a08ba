"""The parameters of a network: their initial values, their statistics and their structural names."""
import mxnet as mx
from mxnet import autograd


def initialised(net, seed=None, side=32):
    """Initialise a network, and run it once so that all of its parameters have shapes; return it."""
    if seed is not None:
        mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, side, side)))
    return net


def with_statistics(net, seed, images=None):
    """Initialise a network, and move its running statistics by a training pass; return it.

    The pass is over ``images``, by default eight random ones of 32 x 32 pixels.
    """
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu())
    images = mx.nd.random.normal(0, 1, (8, 3, 32, 32)) if images is None else images
    images.attach_grad()  # else a first BatchNorm of the images keeps its statistics
    with autograd.record():
        outputs = net(images)
    outputs.backward()  # only this updates the statistics
    mx.nd.waitall()
    return net


def parameters_of(net):
    """Return {structural name: parameter}, as in a .params file; Gluon has no public function for it."""
    return net._collect_params_with_prefix()

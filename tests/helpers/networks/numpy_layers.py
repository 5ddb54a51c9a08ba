"""Layers in NumPy, written from the papers in float64, and checks of Gluon blocks against them.

Gradients are numeric derivatives.
"""
import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

from openatac.export.exported_symbol import load_block
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.parameters import parameters_of

SHAPE = (3, 4, 6, 5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def batch_norm(x, p, name, training):
    """Normalise axis 1 by the batch's statistics in training, else by the running ones."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training:
        axes = (0, *tuple(range(2, x.ndim)))
        mean, variance = x.mean(axes), x.var(axes)
    else:
        mean, variance = p[name + '.running_mean'], p[name + '.running_var']
    x = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5)
    return x * p[name + '.gamma'].reshape(shape) + p[name + '.beta'].reshape(shape)


def conv1x1(weight, x):
    """Apply a 1x1 convolution; weight (out, in) or (out, in, 1, 1)."""
    return np.einsum('oi,bihw->bohw', weight.reshape(weight.shape[:2]), x)


def convolve(x, weight, stride=1, groups=1):
    """Apply a k x k convolution with zero padding of k // 2; weight (out, in / groups, k, k)."""
    k = weight.shape[-1]
    out_groups = len(weight) // groups
    padded = np.pad(x, [(0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)])
    height, width = [(side - 1) // stride + 1 for side in x.shape[2:]]
    result = np.zeros((len(x), len(weight), height, width))
    for out in range(len(weight)):
        first = out // out_groups * weight.shape[1]
        for row in range(k):
            for column in range(k):
                window = padded[:, first:first + weight.shape[1], row:row + (height - 1) * stride + 1:stride,
                                column:column + (width - 1) * stride + 1:stride]
                result[:, out] += np.einsum('bihw,i->bhw', window, weight[out, :, row, column])
    return result


def local_attention(x, p, training):
    """Return BN(W2 . relu(BN(W1 . x))), with parameters named as in ChaATAC."""
    inner = relu(batch_norm(conv1x1(p['module.0.weight'], x), p, 'module.1', training))
    return batch_norm(conv1x1(p['module.3.weight'], inner), p, 'module.4', training)


def fill(block, seed=0):
    """Set every parameter of an initialised block to random values; scales and variances stay positive."""
    rng = np.random.RandomState(seed)
    for name, parameter in sorted(parameters_of(block).items()):
        values = rng.randn(*parameter.shape) * 0.5
        positive = name.endswith(('gamma', 'running_var'))
        parameter.set_data(mx.nd.array(0.5 + np.abs(values) if positive else values))


def numeric_gradient(value, array, step=1e-5):
    """Return the central differences of value() by ``array`` (float64, changed in place)."""
    gradient = np.zeros(array.size)
    flat = array.reshape(-1)
    for index, start in enumerate(flat.copy()):
        changes = []
        for sign in (1, -1):
            flat[index] = start + sign * step
            changes.append(value())
        flat[index] = start
        gradient[index] = (changes[0] - changes[1]) / (2 * step)
    return gradient.reshape(array.shape)


def close(ours, expected, scale=0.0):
    """Return whether values agree to float32's precision, relative to the largest expected (or ``scale``)."""
    assert ours.shape == expected.shape
    return np.abs(ours - expected).max() < 2e-4 * max(np.abs(expected).max(), scale, 1e-3)


def check_against_numpy(block, reference, shape=SHAPE):
    """Check outputs in inference and training, and all gradients, of a block that keeps its input's shape.

    The block is checked first imperatively, then hybridized.
    """
    block.initialize()
    x, weights = random_images(*shape, seed=1), random_images(*shape, seed=2)
    block(x)  # infers the shapes of deferred parameters
    fill(block)
    p = {name: parameter.data().asnumpy().astype('float64')
         for name, parameter in parameters_of(block).items()}
    x64 = x.asnumpy().astype('float64')

    def value():
        return (reference(x64, p, True) * weights.asnumpy()).sum()

    expected = numeric_gradient(value, x64)
    gradients = {name: numeric_gradient(value, p[name]) for name, parameter
                 in parameters_of(block).items() if parameter.grad_req != 'null'}
    for hybrid in (False, True):
        fill(block)  # training has moved the running statistics
        block.hybridize(hybrid, static_alloc=True)
        assert close(block(x).asnumpy(), reference(x64, p, False))
        x.attach_grad()
        with autograd.record():
            y = block(x)
            loss = (y * weights).sum()
        loss.backward()
        assert close(y.asnumpy(), reference(x64, p, True))
        assert close(x.grad.asnumpy(), expected)
        for name, gradient in gradients.items():
            found = parameters_of(block)[name].grad().asnumpy()
            assert close(found, gradient, scale=0.1 * np.abs(expected).max()), name


def trainable(block, shape):
    """Return the number of trainable parameters, after one forward pass on ``shape``."""
    block.initialize()
    block(mx.nd.zeros(shape))
    return sum(int(np.prod(parameter.shape)) for parameter in block.collect_params().values()
               if parameter.grad_req != 'null')


def check_export(block, folder, shape):
    """Check that a network with the block computes the same after its symbol files are loaded back."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(shape[1], 1), block)
    net.initialize()
    x = random_images(*shape, seed=1)
    net(x)
    fill(net)
    path = str(folder / 'net')
    write_symbol(net, path)
    assert close(load_block(path)(x).asnumpy(), net(x).asnumpy())

"""Layers in NumPy, written from the papers in float64, and how a block is compared with them.

Gradients are numeric derivatives.
"""
import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

from openatac.export.forms.symbol_files import export_symbol, load_block
from tests.helpers.parameters import parameters_of

SHAPE = (3, 4, 6, 5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def batch_norm(x, p, name, training):
    """By the statistics of the batch in training, else by the running ones; channels on axis 1."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training:
        axes = (0, *tuple(range(2, x.ndim)))
        mean, variance = x.mean(axes), x.var(axes)
    else:
        mean, variance = p[name + '.running_mean'], p[name + '.running_var']
    x = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5)
    return x * p[name + '.gamma'].reshape(shape) + p[name + '.beta'].reshape(shape)


def across(weight, x):
    """1x1 convolution: weight (out, in) or (out, in, 1, 1)."""
    return np.einsum('oi,bihw->bohw', weight.reshape(weight.shape[:2]), x)


def convolve(x, weight, stride=1, groups=1):
    """K x k convolution with a border of zeros, k // 2 wide; weight (out, in / groups, k, k)."""
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
    """BN(W2 . relu(BN(W1 . x))) with the names of ChaATAC's parameters."""
    inner = relu(batch_norm(across(p['module.0.weight'], x), p, 'module.1', training))
    return batch_norm(across(p['module.3.weight'], inner), p, 'module.4', training)


def fill(block, seed=0):
    """Random values for every parameter of an initialised block; scales and variances stay positive."""
    rng = np.random.RandomState(seed)
    for name, parameter in sorted(parameters_of(block).items()):
        values = rng.randn(*parameter.shape) * 0.5
        positive = name.endswith(('gamma', 'running_var'))
        parameter.set_data(mx.nd.array(0.5 + np.abs(values) if positive else values))


def images(shape=SHAPE, seed=1):
    return mx.nd.array(np.random.RandomState(seed).randn(*shape))


def numeric_gradient(value, array, step=1e-5):
    """Central differences of value(), which depends on ``array`` (float64, changed in place)."""
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
    """Equal to float32's precision, measured by the largest of the expected values (or ``scale``)."""
    assert ours.shape == expected.shape
    return np.abs(ours - expected).max() < 2e-4 * max(np.abs(expected).max(), scale, 1e-3)


def check_against_numpy(block, reference, shape=SHAPE):
    """Check outputs in use and in training, and all gradients, of a block that keeps its input's shape.

    First imperative, then hybridized.
    """
    block.initialize()
    x, weights = images(shape), images(shape, seed=2)
    block(x)  # the shapes of deferred parameters
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
    """The number of parameters that are trained, after one forward on ``shape``."""
    block.initialize()
    block(mx.nd.zeros(shape))
    return sum(int(np.prod(parameter.shape)) for parameter in block.collect_params().values()
               if parameter.grad_req != 'null')


def check_export(block, folder, shape):
    """Symbol files of a network with the block, loaded back, compute what it does."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(shape[1], 1), block)
    net.initialize()
    net(images(shape))
    fill(net)
    path = str(folder / 'net')
    export_symbol(net, path, shape[1:])
    assert close(load_block(path)(images(shape)).asnumpy(), net(images(shape)).asnumpy())

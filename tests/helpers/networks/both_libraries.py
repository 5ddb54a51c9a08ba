"""Comparisons of a network's outputs and gradients in MXNet and in PyTorch."""
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from tests.helpers.networks.parameters import parameters_of


def random_network(build, shape, dtype='float32', seed=0):
    """Return (network, images) with random values everywhere, running statistics included."""
    mx.random.seed(seed)
    random = np.random.RandomState(seed)
    net = build()
    net.initialize(mx.init.MSRAPrelu())
    x = random.randn(3, *shape).astype('float32')
    net(mx.nd.array(x))
    for name, parameter in parameters_of(net).items():
        if name.endswith('running_mean') or (name.endswith('beta') and parameter.grad_req != 'null'):
            parameter.set_data(mx.nd.array(random.uniform(-0.5, 0.5, parameter.shape)))
        elif name.endswith('running_var') or (name.endswith('gamma') and parameter.grad_req != 'null'):
            parameter.set_data(mx.nd.array(random.uniform(0.5, 1.5, parameter.shape)))
    net.cast(dtype)
    return net, x.astype(dtype)


def step_in_mxnet(net, x, head):
    """Return (outputs, gradients, untrained values) of a training pass with the loss sum(head * outputs)."""
    x = mx.nd.array(x, dtype=x.dtype)
    x.attach_grad()
    with autograd.record():
        y = net(x)
        loss = (y * mx.nd.array(head, dtype=head.dtype)).sum()
    loss.backward()
    mx.nd.waitall()
    gradients, rest = {'data': x.grad.asnumpy()}, {}
    for name, parameter in parameters_of(net).items():
        if parameter.grad_req == 'null':
            rest[name] = parameter.data().asnumpy()
        else:
            gradients[name] = parameter.grad().asnumpy()
    return y.asnumpy(), gradients, rest


def step_in_torch(module, x, head):
    """Do the same as `step_in_mxnet`."""
    import torch
    x = torch.tensor(x, requires_grad=True)
    y = module.train()(x)
    (y * torch.tensor(head)).sum().backward()
    gradients = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    return (y.detach().numpy(), dict(gradients, data=x.grad.numpy()),
            {name: buffer.numpy() for name, buffer in module.named_buffers()})


def infer(module, x):
    import torch
    with torch.no_grad():
        return module.eval()(torch.tensor(x)).numpy()


def difference(found, expected, floor=1e-30):
    """Return the largest difference, relative to the largest expected number or ``floor``, if larger."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / max(np.abs(expected).max(), floor)


def differences(net, module, x):
    """Return the largest differences in outputs (in both modes), gradients and untrained values."""
    expected = net(mx.nd.array(x, dtype=x.dtype)).asnumpy()
    evaluated = difference(infer(module, x), expected)
    head = np.random.RandomState(1).randn(*expected.shape).astype(x.dtype)
    found, expected = step_in_torch(module, x, head), step_in_mxnet(net, x, head)
    assert found[1].keys() == expected[1].keys() and found[2].keys() == expected[2].keys()
    # A gradient that is tiny beside all others is a sum that cancels out.
    floor = 1e-3 * max(np.abs(gradient).max() for gradient in expected[1].values())
    gradients = {name: difference(found[1][name], expected[1][name], floor) for name in expected[1]}
    worst = max(gradients, key=gradients.get)
    rest = [difference(found[2][name], expected[2][name], 0.1) for name in expected[2]]
    return max(evaluated, difference(found[0], expected[0])), gradients[worst], max(rest, default=0), worst


class RightSELU(gluon.nn.SELU):
    """SELU built from MXNet's ELU, whose gradient is right."""

    def hybrid_forward(self, F, x):
        return 1.0507009873554805 * F.LeakyReLU(x, act_type='elu', slope=1.6732632423543772)
